// SPDX-License-Identifier: Apache-2.0
// How fast this machine reads memory: what a kernel that reads the same bytes cannot exceed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "perf/probe_kernels.hpp"
#include "perf/probe_team.hpp"

namespace attnrt::perf {

/// Streams a rotation: every run reads one slice of the memory, all slices in turn, so that a slice
/// has left the caches by the time it comes again. A kernel's copies of K and V rotate alike.
class ReadProbe {
 public:
  /// `memory` is cut into whole slices of `slice_bytes`, or is one slice if it is shorter.
  ReadProbe(ProbeTeam& team, std::span<const std::byte> memory, int64_t slice_bytes);

  /// Tries every loop a few times and keeps the one with the best median: the limit is the fastest
  /// plain read that we know to write.
  void choose_variant();

  /// Reads the next slice; bytes per second.
  double run();

  [[nodiscard]] std::string_view variant() const { return kernels_.reads[variant_].name; }
  [[nodiscard]] int64_t num_slices() const { return num_slices_; }

 private:
  TeamTime read_next_slice();

  ProbeTeam& team_;
  const ProbeKernels& kernels_;
  std::span<const std::byte> memory_;
  int64_t slice_bytes_;
  int64_t num_slices_;
  int64_t next_slice_ = 0;
  int variant_ = 0;
};

}  // namespace attnrt::perf
