// SPDX-License-Identifier: Apache-2.0
// The embedded workload. It stands in for real traces, which carry licences of their own.
#include <algorithm>
#include <cmath>

#include "perf/random.hpp"
#include "perf/traces.hpp"

namespace attnrt::perf {
namespace {

// The Azure conversation trace has medians of 1020 and 129 tokens, 90th percentiles of 2734 and
// 424, and a mean gap of 0.181 s with a coefficient of variation of 1.09 (Poisson: 1).
constexpr double kPromptMedian = 256.0;
constexpr double kOutputMedian = 32.0;
constexpr double kSpread = 0.9;  // sigma of the logarithm, of both lengths
constexpr double kMeanGapSeconds = 0.181;
constexpr double kMaxPrompt = 4096.0;
constexpr double kMaxOutput = 512.0;

int32_t lognormal_length(Random& random, double median, double largest) {
  const double length = median * std::exp(kSpread * random.normal());
  return static_cast<int32_t>(std::clamp(std::round(length), 1.0, largest));
}

}  // namespace

Trace synthetic_trace(uint64_t seed, int64_t max_requests) {
  Trace trace{"synthetic", "synthetic", {}};
  Random random(seed);
  double now = 0.0;
  for (int64_t i = 0; i < max_requests; ++i) {
    Request request;
    request.arrival_seconds = now;
    request.prompt_tokens = lognormal_length(random, kPromptMedian, kMaxPrompt);
    request.output_tokens = lognormal_length(random, kOutputMedian, kMaxOutput);
    trace.requests.push_back(request);
    now -= kMeanGapSeconds * std::log(random.uniform());
  }
  return trace;
}

}  // namespace attnrt::perf
