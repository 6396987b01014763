// SPDX-License-Identifier: Apache-2.0
// The read probe: its rotation, and that it measures something a machine can do.
#include "perf/read_probe.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace attnrt::perf {
namespace {

TEST_CASE("memory is cut into whole slices") {
  ProbeTeam team(1);
  const std::vector<std::byte> memory(10'000);
  CHECK(ReadProbe(team, memory, 3'000).num_slices() == 3);
  CHECK(ReadProbe(team, memory, 10'000).num_slices() == 1);
  CHECK(ReadProbe(team, memory, 20'000).num_slices() == 1);
}

TEST_CASE("rates are those of a machine of this age, on any number of threads") {
  const std::vector<std::byte> memory(size_t{8} << 20, std::byte{1});
  for (const int32_t threads : {1, 2, 5}) {
    CAPTURE(threads);
    ProbeTeam team(threads);
    ReadProbe probe(team, memory, 1 << 20);
    probe.choose_variant();
    CHECK_FALSE(probe.variant().empty());
    std::vector<double> rates;
    for (int i = 0; i < 20; ++i) rates.push_back(probe.run());
    // 10 MB/s would mean a broken count on the slowest, 100 TB/s on the fastest machine.
    CHECK(*std::max_element(rates.begin(), rates.end()) > 1e7);
    CHECK(*std::max_element(rates.begin(), rates.end()) < 1e14);
  }
}

TEST_CASE("a slice of a few bytes for many threads") {
  const std::vector<std::byte> memory(100);
  ProbeTeam team(4);
  ReadProbe probe(team, memory, 7);
  CHECK(probe.num_slices() == 14);
  for (int i = 0; i < 30; ++i) CHECK(probe.run() > 0.0);
}

}  // namespace
}  // namespace attnrt::perf
