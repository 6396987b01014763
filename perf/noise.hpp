// SPDX-License-Identifier: Apache-2.0
// When a measurement has been repeated often enough, and what is said about it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace attnrt::perf {

struct Summary {
  double median = 0.0;
  double p10 = 0.0;
  double p90 = 0.0;
  double noise = 1.0;  // half of the median's 95% confidence interval, relative to the median
};

/// Order statistics only: no sample is thrown away and no distribution is assumed. Needs at least
/// one sample; below six the confidence interval does not exist and noise is 1.
Summary summarize(std::span<const double> samples);

struct RepeatPolicy {
  double noise = 0.03;       // stop when Summary::noise is at most this
  double max_seconds = 3.0;  // stop after this long, whatever the noise
  int64_t min_repeats = 7;
  int64_t max_repeats = 5000;
};

/// Collects samples until they are quiet enough or time is up. `clock` returns seconds.
class Repeater {
 public:
  Repeater(const RepeatPolicy& policy, std::function<double()> clock);

  void add(double sample) { samples_.push_back(sample); }
  [[nodiscard]] bool done() const;
  [[nodiscard]] std::span<const double> samples() const { return samples_; }

 private:
  RepeatPolicy policy_;
  std::function<double()> clock_;
  double begin_;
  std::vector<double> samples_;
};

/// Seconds of a clock that never goes back.
double steady_seconds();

}  // namespace attnrt::perf
