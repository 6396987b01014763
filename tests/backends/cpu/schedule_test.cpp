// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/schedule.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace attnrt::cpu {
namespace {

// Every (tile token, KV head, item) must be computed by exactly one unit, for any thread count.
void check_cover(const SequenceBatch& batch, const AttentionSpec& spec, int32_t threads) {
  Plan plan;
  REQUIRE(make_plan(spec, batch, plan).ok());
  const PlanData& data = *plan.data();
  const Schedule schedule = make_schedule(data, threads);
  CAPTURE(threads);

  const auto heads = static_cast<size_t>(spec.num_heads_kv);
  const auto tokens = static_cast<size_t>(data.max_tile_tokens);
  std::vector<int32_t> seen(data.items.size() * heads * tokens);
  for (int64_t u = 0; u < schedule.num_units; ++u) {
    const Unit unit = unit_at(data, schedule, u);
    for (int32_t h = unit.kv_head_begin; h < unit.kv_head_end; ++h) {
      for (int32_t t = unit.token_begin; t < unit.token_end; ++t) {
        ++seen[(static_cast<size_t>(unit.item) * heads + static_cast<size_t>(h)) * tokens +
               static_cast<size_t>(t)];
      }
    }
  }
  for (size_t i = 0; i < data.items.size(); ++i) {
    const PlanTile& tile = data.tiles[static_cast<size_t>(data.items[i].tile)];
    const auto count = static_cast<size_t>(tile.token_end - tile.token_begin);
    for (size_t h = 0; h < heads; ++h) {
      for (size_t t = 0; t < tokens; ++t) {
        CHECK(seen[(i * heads + h) * tokens + t] == (t < count ? 1 : 0));
      }
    }
  }
}

TEST_CASE("units cover every item, KV head and token exactly once") {
  const std::vector<int32_t> cu_q{0, 1, 41, 45, 45};
  const std::vector<int32_t> cu_k{0, 3000, 3500, 9500, 9600};
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_q;
  batch.cu_seqlens_k = cu_k;
  AttentionSpec spec;
  spec.head_dim = 64;
  for (const int32_t heads_kv : {1, 3, 8}) {
    spec.num_heads_kv = heads_kv;
    spec.num_heads_q = heads_kv * 4;
    for (const int32_t threads : {1, 2, 7, 64}) check_cover(batch, spec, threads);
  }
}

TEST_CASE("one thread takes whole items; many threads get enough units") {
  const std::vector<int32_t> cu_q{0, 512};
  const std::vector<int32_t> cu_k{0, 512};
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_q;
  batch.cu_seqlens_k = cu_k;
  AttentionSpec spec;
  spec.num_heads_q = 32;
  spec.num_heads_kv = 8;
  spec.head_dim = 64;
  Plan plan;
  REQUIRE(make_plan(spec, batch, plan).ok());
  CHECK(make_schedule(*plan.data(), 1).num_units == plan.num_items());
  CHECK(make_schedule(*plan.data(), 16).num_units >= 128);
}

}  // namespace
}  // namespace attnrt::cpu
