// SPDX-License-Identifier: Apache-2.0
// How fast this machine multiplies and adds f32 with the vectors of one ISA: what a kernel of that
// ISA cannot exceed.
#pragma once

#include <cstdint>

#include "perf/probe_kernels.hpp"
#include "perf/probe_team.hpp"

namespace attnrt::perf {

/// Registers only, so the same for every shape. Runs for about a third of a millisecond each time.
class FmaProbe {
 public:
  FmaProbe(ProbeTeam& team, const ProbeKernels& kernels);

  /// Operations per second of all threads together, two per multiply-add.
  double run();

 private:
  ProbeTeam& team_;
  const ProbeKernels& kernels_;
  int64_t iterations_ = 2000;
};

}  // namespace attnrt::perf
