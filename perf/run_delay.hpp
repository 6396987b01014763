// SPDX-License-Identifier: Apache-2.0
// How long our threads stood ready but another process had the CPU.
#pragma once

#include <map>
#include <string>

namespace attnrt::perf {

/// Seconds since the start of a thread.
struct ThreadTime {
  double on_cpu = 0.0;
  double waiting = 0.0;  // ready, but without a CPU
};

/// By thread id. Empty where the system does not say.
using ThreadTimes = std::map<std::string, ThreadTime>;
ThreadTimes read_thread_times(const std::string& task_root = "/proc/self/task");

/// Seconds that threads waited between two readings, summed over those that had a CPU for at least
/// `least_on_cpu` meanwhile: others had no part in the work. Negative where nothing is known.
double waited_seconds(const ThreadTimes& before, const ThreadTimes& after, double least_on_cpu);

}  // namespace attnrt::perf
