// SPDX-License-Identifier: Apache-2.0
// Runs the probes of the sweep over the replayer's cache.
#include "perf/replay_limits.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "perf/multiply_probe.hpp"
#include "perf/probe_team.hpp"
#include "perf/read_probe.hpp"
#include "perf/statistics.hpp"

namespace attnrt::perf {
namespace {

// A slice takes about a millisecond: long against waking threads, short against the run.
constexpr int64_t kSliceBytes = int64_t{32} << 20;
constexpr int kReadSamples = 15;
constexpr int kMultiplySamples = 31;

}  // namespace

Rates measure_rates(std::span<const std::byte> memory, int32_t num_threads,
                    const MultiplyLoop& loop) {
  ProbeTeam team(std::max(num_threads, 1));
  Rates rates;
  std::vector<double> samples;
  if (!memory.empty()) {
    ReadProbe read(team, memory, std::min(kSliceBytes, static_cast<int64_t>(memory.size())));
    read.choose_variant();
    for (int i = 0; i < kReadSamples; ++i) samples.push_back(read.run());
    rates.read_bytes_per_second = median(samples);
  }
  samples.clear();
  MultiplyProbe multiply(team, loop);
  for (int i = 0; i < kMultiplySamples; ++i) samples.push_back(multiply.run());
  rates.flops_per_second = median(samples);
  return rates;
}

double limit_seconds(std::span<const Work> calls, const Rates& rates) {
  double seconds = 0.0;
  for (const Work& work : calls) seconds += limit_of(work, rates).seconds;
  return seconds;
}

}  // namespace attnrt::perf
