// SPDX-License-Identifier: Apache-2.0
// How fast this machine reads memory.
#include "perf/read_probe.hpp"

#include <algorithm>

#include "perf/probe_dispatch.hpp"
#include "perf/statistics.hpp"

namespace attnrt::perf {
namespace {

// Slices are handed to threads in whole small pages, so that no two threads read one.
constexpr int64_t kGrainBytes = 4096;
constexpr int kTrialsPerVariant = 5;

}  // namespace

ReadProbe::ReadProbe(ProbeTeam& team, std::span<const std::byte> memory, int64_t slice_bytes)
    : team_(team),
      kernels_(probe_kernels()),
      memory_(memory),
      slice_bytes_(std::clamp<int64_t>(slice_bytes, 1, static_cast<int64_t>(memory.size()))),
      num_slices_(static_cast<int64_t>(memory.size()) / slice_bytes_) {}

double ReadProbe::run() {
  // Every attempt takes the next slice: the last one's is in the caches now.
  const TeamTime time = run_together([this] { return read_next_slice(); });
  // A slice of a few lines is read faster than the clock ticks.
  return static_cast<double>(slice_bytes_) / std::max(time.seconds, 1e-9);
}

TeamTime ReadProbe::read_next_slice() {
  const std::byte* const slice = memory_.data() + next_slice_ * slice_bytes_;
  next_slice_ = (next_slice_ + 1) % num_slices_;
  const int64_t grains = (slice_bytes_ + kGrainBytes - 1) / kGrainBytes;
  const int32_t threads = team_.num_threads();
  const ReadLoop read = kernels_.reads[variant_].read;
  return team_.run([&](int32_t thread) {
    const int64_t begin = std::min(grains * thread / threads * kGrainBytes, slice_bytes_);
    const int64_t end = std::min(grains * (thread + 1) / threads * kGrainBytes, slice_bytes_);
    read(slice + begin, end - begin);
  });
}

void ReadProbe::choose_variant() {
  double best_rate = 0.0;
  int best = 0;
  for (int variant = 0; variant < kReadVariants; ++variant) {
    variant_ = variant;
    double rates[kTrialsPerVariant];
    for (double& rate : rates) rate = run();
    const double rate = median(rates);
    if (rate > best_rate) best = variant;
    best_rate = std::max(best_rate, rate);
  }
  variant_ = best;
}

}  // namespace attnrt::perf
