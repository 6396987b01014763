// SPDX-License-Identifier: Apache-2.0
// What the machine could have done at best with the work of a replay.
#pragma once

#include <cstddef>
#include <span>

#include "perf/limits.hpp"
#include "perf/measured_device.hpp"

namespace attnrt::perf {

/// Rates of a device with the threads of `context`: a plain read of `memory` (the keys and values
/// of the replay, where they lie) and the multiply-adds that calls of this dtype are made of. No
/// read rate (0) where there is no memory, or a device that is not the host has so much cache that
/// it would be measured. Takes less than a second.
Rates measure_rates(MeasuredDevice& device, std::span<const std::byte> memory,
                    const Context& context, DType dtype);

/// Seconds that all calls together cannot go below.
double limit_seconds(std::span<const Work> calls, const Rates& rates);

}  // namespace attnrt::perf
