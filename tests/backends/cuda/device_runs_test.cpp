// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device_runs.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace attnrt::cuda {
namespace {

PlanData plan_of(std::vector<expr::MaskRun> runs, int32_t kv_len) {
  PlanData plan;
  plan.sequences.push_back({.kv_len = kv_len});
  PlanTile tile;
  tile.run_end = static_cast<int32_t>(runs.size());
  plan.runs = std::move(runs);
  plan.tiles.push_back(tile);
  return plan;
}

std::vector<DeviceRun> runs_of(const PlanData& plan) {
  std::vector<DeviceRun> made;
  device_runs(plan, plan.tiles.front(), [&](const DeviceRun& run) { made.push_back(run); });
  return made;
}

// Runs anywhere, some of which touch.
std::vector<expr::MaskRun> random_runs(std::mt19937& random, int32_t kv_len) {
  std::vector<expr::MaskRun> runs;
  const int32_t unit = random() % 2 == 0 ? 1 : 64;
  for (int32_t at = 0; at < kv_len;) {
    const int32_t begin = at + unit * static_cast<int32_t>(random() % 3);
    const int32_t end = std::min(kv_len, begin + unit * (1 + static_cast<int32_t>(random() % 90)));
    if (begin < end) runs.push_back({begin, end, random() % 2});
    at = std::max(begin, end);
  }
  return runs;
}

}  // namespace

TEST_SUITE("runs in blocks of keys") {
  TEST_CASE("whole blocks stay as they are; neighbours of one kind are one run") {
    const auto runs =
        runs_of(plan_of({{64, 192, 0}, {192, 256, 0}, {256, 320, 6}, {448, 500, 0}}, 500));
    REQUIRE(runs.size() == 3);
    const auto is = [](const DeviceRun& run, const DeviceRun& want) {
      return run.begin == want.begin && run.end == want.end && run.before == want.before &&
             run.undecided == want.undecided;
    };
    CHECK(is(runs[0], {1, 4, 0, 0}));
    CHECK(is(runs[1], {4, 5, 3, 1}));
    CHECK(is(runs[2], {7, 8, 4, 0}));  // its last block ends with the keys
  }

  TEST_CASE("random runs: every key stands in a block, decided only where all of it is") {
    std::mt19937 random(5);
    for (int n = 0; n < 300; ++n) {
      const int32_t kv_len = 1 + static_cast<int32_t>(random() % 900);
      const PlanData plan = plan_of(random_runs(random, kv_len), kv_len);
      enum Kind : int { kNone, kUndecided, kDecided };
      std::vector<int> keys(static_cast<size_t>(kv_len), kNone);
      for (const expr::MaskRun& run : plan.runs) {
        std::fill(keys.begin() + run.key_begin, keys.begin() + run.key_end,
                  run.undecided == 0 ? kDecided : kUndecided);
      }
      std::vector<int> blocks(static_cast<size_t>(kv_len / kBlockKeys + 1), kNone);
      int32_t before = 0;
      int32_t last_end = 0;
      for (const DeviceRun& run : runs_of(plan)) {
        CHECK(run.before == before);
        CHECK(run.begin >= last_end);
        REQUIRE(run.begin < run.end);
        std::fill(blocks.begin() + run.begin, blocks.begin() + run.end,
                  run.undecided == 0 ? kDecided : kUndecided);
        before += run.end - run.begin;
        last_end = run.end;
      }
      for (int32_t first = 0; first < kv_len; first += kBlockKeys) {
        const auto begin = keys.begin() + first;
        const auto end = keys.begin() + std::min(kv_len, first + kBlockKeys);
        const int block = blocks[static_cast<size_t>(first / kBlockKeys)];
        CHECK((block == kNone) == std::all_of(begin, end, [](int k) { return k == kNone; }));
        if (block == kDecided) {
          CHECK(std::all_of(begin, end, [](int k) { return k == kDecided; }));
        }
      }
    }
  }
}

}  // namespace attnrt::cuda
