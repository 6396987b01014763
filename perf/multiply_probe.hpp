// SPDX-License-Identifier: Apache-2.0
// How fast this machine multiplies and adds with one instruction of one ISA: what a kernel that is
// made of it cannot exceed.
#pragma once

#include <cstdint>

#include "perf/probe_kernels.hpp"
#include "perf/probe_team.hpp"

namespace attnrt::perf {

/// Registers only, so the same for every shape. Runs for about a third of a millisecond each time.
class MultiplyProbe {
 public:
  MultiplyProbe(ProbeTeam& team, const MultiplyLoop& loop);

  /// Operations per second of all threads together, two per multiply-add.
  double run();

 private:
  ProbeTeam& team_;
  const MultiplyLoop& loop_;
  int64_t iterations_ = 2000;
};

}  // namespace attnrt::perf
