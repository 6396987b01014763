// SPDX-License-Identifier: Apache-2.0
// The limit of a replay: the sum of what each call cannot go below.
#include "perf/replay_limits.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace perf = attnrt::perf;

TEST_CASE("every call has a limit of its own") {
  const perf::Rates rates{10.0, 100.0};
  const std::vector<perf::Work> calls{{20, 100}, {20, 1000}, {0, 0}};
  CHECK(perf::limit_seconds(calls, rates) == doctest::Approx(2.0 + 10.0));
  CHECK(perf::limit_seconds({}, rates) == 0.0);
}

TEST_CASE("the probes measure something on any memory") {
  const std::vector<std::byte> memory(1 << 20);
  const perf::MultiplyLoop& loop = perf::kBaselineProbes.fma;
  const perf::Rates rates = perf::measure_rates(memory, 2, loop);
  CHECK(rates.read_bytes_per_second > 1e6);
  CHECK(rates.flops_per_second > 1e6);
  CHECK(perf::measure_rates({}, 1, loop).read_bytes_per_second == 0.0);
}
