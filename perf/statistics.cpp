// SPDX-License-Identifier: Apache-2.0
// Percentiles of samples.
#include "perf/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace attnrt::perf {

double percentile(std::span<const double> samples, double percent) {
  if (samples.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  const double rank =
      std::clamp(percent, 0.0, 100.0) / 100.0 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(rank));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double weight = rank - static_cast<double>(below);
  return sorted[below] + weight * (sorted[above] - sorted[below]);
}

}  // namespace attnrt::perf
