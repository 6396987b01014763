// SPDX-License-Identifier: Apache-2.0
// The multiply probe: wider vectors do more.
#include "perf/multiply_probe.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "perf/probe_dispatch.hpp"

namespace attnrt::perf {
namespace {

double best_of(MultiplyProbe& probe) {
  double best = 0.0;
  for (int i = 0; i < 15; ++i) best = std::max(best, probe.run());
  return best;
}

TEST_CASE("rates are those of a machine of this age, and the best ISA is not the slowest") {
  ProbeTeam team(1);
  MultiplyProbe baseline(team, probe_kernels("baseline").fma);
  MultiplyProbe best(team, probe_kernels().fma);
  const double baseline_rate = best_of(baseline);
  CHECK(baseline_rate > 1e8);
  CHECK(baseline_rate < 1e13);
  // Some machines gain nothing; half as fast would be a fault of the loop.
  CHECK(best_of(best) > 0.5 * baseline_rate);
}

}  // namespace
}  // namespace attnrt::perf
