// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/parallel.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <initializer_list>
#include <thread>
#include <vector>

namespace attnrt::cpu {
namespace {

// Every worker writes its own plain int, so a worker that runs twice, or whose writes the caller
// does not see, shows here or under ThreadSanitizer.
std::vector<int32_t> count_calls(WorkerTeam& team, int32_t count) {
  std::vector<int32_t> calls(static_cast<size_t>(count), 0);
  team.run(count, [&](int32_t worker) { calls[static_cast<size_t>(worker)] += 1; });
  return calls;
}

TEST_CASE("each worker is called once, whatever the number of threads") {
  for (const int32_t threads : {0, 1, 2, 8}) {
    CAPTURE(threads);
    WorkerTeam team(threads);
    if (threads != 0) CHECK(team.size() == threads);
    CHECK(team.size() >= 1);
    for (const int32_t count : {0, 1, 2, 7, 100}) {
      CAPTURE(count);
      CHECK(count_calls(team, count) == std::vector<int32_t>(static_cast<size_t>(count), 1));
    }
  }
}

TEST_CASE("what the caller wrote before is seen by workers, and theirs by the caller") {
  WorkerTeam team(4);
  for (int32_t round = 0; round < 200; ++round) {
    const std::vector<int32_t> input(64, round);
    std::vector<int32_t> output(64, -1);
    team.run(64, [&](int32_t worker) {
      output[static_cast<size_t>(worker)] = input[static_cast<size_t>(worker)];
    });
    CHECK(output == input);
  }
}

TEST_CASE("a worker may run another team") {
  WorkerTeam outer(2);
  std::vector<std::vector<int32_t>> calls(4);
  outer.run(4, [&](int32_t worker) {
    WorkerTeam inner(2);
    calls[static_cast<size_t>(worker)] = count_calls(inner, 5);
  });
  for (const std::vector<int32_t>& inner : calls) CHECK(inner == std::vector<int32_t>(5, 1));
}

TEST_CASE("teams of several threads do not disturb each other") {
  std::vector<std::vector<int32_t>> calls(4);
  {
    std::vector<std::jthread> callers;
    for (std::vector<int32_t>& mine : calls) {
      callers.emplace_back([&mine] {
        WorkerTeam team(2);
        for (int32_t round = 0; round < 50; ++round) mine = count_calls(team, 16);
      });
    }
  }
  for (const std::vector<int32_t>& each : calls) CHECK(each == std::vector<int32_t>(16, 1));
}

}  // namespace
}  // namespace attnrt::cpu
