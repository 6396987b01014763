// SPDX-License-Identifier: Apache-2.0
// How long our threads stood ready but another process had the CPU.
#pragma once

#include <string>

namespace attnrt::perf {

/// Seconds since the start of the process, summed over the threads listed in `task_root`; negative
/// where the system does not say.
double run_delay_seconds(const std::string& task_root = "/proc/self/task");

}  // namespace attnrt::perf
