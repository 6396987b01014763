// SPDX-License-Identifier: Apache-2.0
// Percentiles of samples.
#pragma once

#include <span>

namespace attnrt::perf {

/// The value below which `percent` (0 .. 100) of the samples lie, interpolated linearly between
/// neighbours as NumPy does. NaN without samples. Copies and sorts: not for hot loops.
double percentile(std::span<const double> samples, double percent);

inline double median(std::span<const double> samples) { return percentile(samples, 50.0); }

}  // namespace attnrt::perf
