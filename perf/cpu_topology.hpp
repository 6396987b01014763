// SPDX-License-Identifier: Apache-2.0
// Where threads run best when they must not share anything: one per core, far apart.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace attnrt::perf {

/// CPUs that this process may run on.
std::vector<int> allowed_cpus();

/// One of `cpus` for each of `num_threads`: evenly spread over the first hardware threads of all
/// cores, then over the second ones, and from the start again when there are more threads than
/// CPUs. Siblings are read below `cpu_root`; where it does not say, every CPU counts as a core.
std::vector<int> spread_threads(std::span<const int> cpus, int32_t num_threads,
                                const std::string& cpu_root = "/sys/devices/system/cpu");

/// Keeps the calling thread on one CPU. False where the system does not allow it.
bool pin_to_cpu(int cpu);

}  // namespace attnrt::perf
