// SPDX-License-Identifier: Apache-2.0
// Facts about the machine, the build and the process that every report starts with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attnrt/attention.hpp"
#include "perf/report.hpp"

namespace attnrt::perf {

/// Version, compiler, CPU, backend, ISA and why, threads, huge pages.
std::vector<Fact> read_environment(const Context& context);

/// "AMD EPYC ..", from /proc/cpuinfo; "unknown" where there is none.
std::string cpu_name();

/// The setting of transparent huge pages: "always", "madvise", "never", or "unknown".
std::string huge_page_setting();

/// Largest resident memory of this process so far (VmHWM); 0 if the system does not say.
int64_t peak_memory_bytes();

/// Memory that can be had without swapping (MemAvailable); 0 if the system does not say.
int64_t available_memory_bytes();

}  // namespace attnrt::perf
