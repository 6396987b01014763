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
  }
}

TEST_CASE("the time is that of the slowest thread") {
  using namespace std::chrono_literals;
  ProbeTeam team(2);
  const TeamTime time = team.run([](int32_t index) {
    if (index == 1) std::this_thread::sleep_for(20ms);
  });
  CHECK(time.seconds >= 0.020);
  CHECK(time.seconds < 5.0);
  CHECK(time.late_start >= 0.0);
  CHECK(time.late_start <= time.seconds);
}

TEST_CASE("a team that never ran ends") {
  const ProbeTeam team(4);
  CHECK(team.num_threads() == 4);
}

TEST_CASE("a run whose threads did not start together is done again, a few times") {
  int attempts = 0;
  const TeamTime second = run_together([&] {
    return ++attempts == 1 ? TeamTime{.seconds = 2.0, .late_start = 1.0}
                           : TeamTime{.seconds = 1.0, .late_start = 1e-6};
  });
  CHECK(attempts == 2);
  CHECK(second.seconds == 1.0);
  attempts = 0;
  const TeamTime last = run_together(
      [&] { return TeamTime{.seconds = static_cast<double>(++attempts), .late_start = 1.0}; });
  CHECK(attempts > 1);
  CHECK(attempts < 20);
  CHECK(last.seconds == attempts);
}

}  // namespace
}  // namespace attnrt::perf
