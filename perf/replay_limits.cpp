// SPDX-License-Identifier: Apache-2.0
// Runs the probes of the sweep over the replayer's cache.
#include "perf/replay_limits.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "perf/statistics.hpp"

namespace attnrt::perf {
namespace {

// A slice takes about a millisecond: long against waking threads, short against the run.
constexpr int64_t kSliceBytes = int64_t{32} << 20;
constexpr int kReadSamples = 15;
constexpr int kMultiplySamples = 31;

// A GPU reads that in microseconds, and out of its cache.
int64_t slice_bytes(const MeasuredDevice& device) {
  constexpr int64_t kCaches = 4;
  return device.host_memory() ? kSliceBytes : std::max(kSliceBytes, kCaches * device.cache_bytes());
}

}  // namespace

Rates measure_rates(MeasuredDevice& device, std::span<const std::byte> memory,
                    const Context& context, DType dtype) {
  Rates rates;
  std::vector<double> samples;
  const auto bytes = static_cast<int64_t>(memory.size());
  const int64_t slice = slice_bytes(device);
  const bool cached = !device.host_memory() && bytes < slice;
  if (!memory.empty() && !cached) {
    const std::unique_ptr<RateProbe> read =
        device.read_probe(memory, std::min(slice, bytes), context);
    for (int i = 0; i < kReadSamples; ++i) samples.push_back(read->run());
    rates.read_bytes_per_second = median(samples);
  }
  samples.clear();
  const std::unique_ptr<RateProbe> multiply = device.multiply_probe(context, dtype);
  for (int i = 0; i < kMultiplySamples; ++i) samples.push_back(multiply->run());
  rates.flops_per_second = median(samples);
  return rates;
}

double limit_seconds(std::span<const Work> calls, const Rates& rates) {
  double seconds = 0.0;
  for (const Work& work : calls) seconds += limit_of(work, rates).seconds;
  return seconds;
}

}  // namespace attnrt::perf
