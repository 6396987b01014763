// SPDX-License-Identifier: Apache-2.0
// Threads that start together.
#include "perf/probe_team.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

namespace attnrt::perf {
namespace {

TEST_CASE("every index runs once per round, each on its own thread") {
  for (const int32_t threads : {1, 2, 3, 8}) {
    CAPTURE(threads);
    ProbeTeam team(threads);
    REQUIRE(team.num_threads() == threads);
    std::vector<std::atomic<int>> runs(static_cast<size_t>(threads));
    std::vector<std::thread::id> ids(static_cast<size_t>(threads));
    for (int round = 0; round < 20; ++round) {
      team.run([&](int32_t index) {
        ++runs[static_cast<size_t>(index)];
        ids[static_cast<size_t>(index)] = std::this_thread::get_id();
      });
    }
    for (const std::atomic<int>& count : runs) CHECK(count == 20);
    CHECK(std::set<std::thread::id>(ids.begin(), ids.end()).size() == ids.size());
    CHECK(ids[0] == std::this_thread::get_id());
  }
}

TEST_CASE("the time is that of the slowest thread") {
  using namespace std::chrono_literals;
  ProbeTeam team(2);
  const double seconds = team.run([](int32_t index) {
    if (index == 1) std::this_thread::sleep_for(20ms);
  });
  CHECK(seconds >= 0.020);
  CHECK(seconds < 5.0);
}

TEST_CASE("a team that never ran ends") {
  const ProbeTeam team(4);
  CHECK(team.num_threads() == 4);
}

}  // namespace
}  // namespace attnrt::perf
