// SPDX-License-Identifier: Apache-2.0
// When a measurement has been repeated often enough, and what is said about it.
#include "perf/noise.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "perf/statistics.hpp"

namespace attnrt::perf {

Summary summarize(std::span<const double> samples) {
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  Summary summary;
  summary.median = percentile(sorted, 50.0);
  summary.p10 = percentile(sorted, 10.0);
  summary.p90 = percentile(sorted, 90.0);
  if (sorted.size() < 6 || summary.median <= 0.0) return summary;
  // Ranks n/2 -+ 0.98 sqrt(n) enclose the median with 95%: the binomial's normal approximation,
  // widened to whole ranks.
  const double n = static_cast<double>(sorted.size());
  const double half = 0.98 * std::sqrt(n);
  const auto low = static_cast<size_t>(std::max(0.0, std::floor(n / 2.0 - half)));
  const auto high = static_cast<size_t>(std::min(n - 1.0, std::ceil(n / 2.0 + half)));
  summary.noise = (sorted[high] - sorted[low]) / 2.0 / summary.median;
  return summary;
}

Repeater::Repeater(const RepeatPolicy& policy, std::function<double()> clock)
    : policy_(policy), clock_(std::move(clock)), begin_(clock_()) {}

bool Repeater::done() const {
  const auto count = static_cast<int64_t>(samples_.size());
  if (count == 0) return false;
  if (count >= policy_.max_repeats || clock_() - begin_ >= policy_.max_seconds) return true;
  return count >= policy_.min_repeats && summarize(samples_).noise <= policy_.noise;
}

double steady_seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

}  // namespace attnrt::perf
