// SPDX-License-Identifier: Apache-2.0
// Reads the scheduler's statistics of every thread.
#include "perf/run_delay.hpp"

#include <filesystem>
#include <fstream>

namespace attnrt::perf {

double run_delay_seconds(const std::string& task_root) {
  double nanoseconds = 0.0;
  bool known = false;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator(task_root, error)) {
    // "time on the CPU, time waiting for one, time slices", the times in nanoseconds.
    std::ifstream in(task.path() / "schedstat");
    double on_cpu = 0.0;
    double waiting = 0.0;
    if (!(in >> on_cpu >> waiting)) continue;
    known = true;
    nanoseconds += waiting;
  }
  return known ? nanoseconds * 1e-9 : -1.0;
}

}  // namespace attnrt::perf
