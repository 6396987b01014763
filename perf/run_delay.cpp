// SPDX-License-Identifier: Apache-2.0
// Reads the scheduler's statistics of every thread.
#include "perf/run_delay.hpp"

#include <filesystem>
#include <fstream>

namespace attnrt::perf {

ThreadTimes read_thread_times(const std::string& task_root) {
  ThreadTimes times;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator(task_root, error)) {
    // "time on the CPU, time waiting for one, time slices", the times in nanoseconds.
    std::ifstream in(task.path() / "schedstat");
    double on_cpu = 0.0;
    double waiting = 0.0;
    if (!(in >> on_cpu >> waiting)) continue;
    times[task.path().filename().string()] = {on_cpu * 1e-9, waiting * 1e-9};
  }
  return times;
}

double waited_seconds(const ThreadTimes& before, const ThreadTimes& after, double least_on_cpu) {
  if (before.empty() || after.empty()) return -1.0;
  double seconds = 0.0;
  for (const auto& [thread, now] : after) {
    const auto then = before.find(thread);
    const ThreadTime start = then == before.end() ? ThreadTime() : then->second;
    if (now.on_cpu - start.on_cpu >= least_on_cpu) seconds += now.waiting - start.waiting;
  }
  return seconds;
}

}  // namespace attnrt::perf
