// SPDX-License-Identifier: Apache-2.0
// What the machine could have done at best with the work of a replay.
#pragma once

#include <cstddef>
#include <span>

#include "perf/limits.hpp"
#include "perf/probe_kernels.hpp"

namespace attnrt::perf {

/// Rates of this machine with so many threads: a plain read of `memory` (the keys and values of the
/// replay, where they lie) and the multiply-adds of `loop`. Takes less than a second.
Rates measure_rates(std::span<const std::byte> memory, int32_t num_threads,
                    const MultiplyLoop& loop);

/// Seconds that all calls together cannot go below.
double limit_seconds(std::span<const Work> calls, const Rates& rates);

}  // namespace attnrt::perf
