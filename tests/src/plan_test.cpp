// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "attnrt/attention.hpp"
#include "src/plan_data.hpp"
#include "src/visible_range.hpp"

namespace attnrt {
namespace {

AttentionSpec llama_spec() {
  AttentionSpec spec;
  spec.num_heads_q = 32;
  spec.num_heads_kv = 8;
  spec.head_dim = 128;
  spec.causal = true;
  return spec;
}

// A packed batch; prefix sums live as long as it does.
struct PackedBatch {
  explicit PackedBatch(const std::vector<std::pair<int32_t, int32_t>>& q_and_kv) {
    for (const auto& [q_len, kv_len] : q_and_kv) {
      cu_q.push_back(cu_q.back() + q_len);
      cu_k.push_back(cu_k.back() + kv_len);
    }
    batch.cu_seqlens_q = cu_q;
    batch.cu_seqlens_k = cu_k;
  }
  std::vector<int32_t> cu_q{0};
  std::vector<int32_t> cu_k{0};
  SequenceBatch batch;
};

Plan planned(const AttentionSpec& spec, const SequenceBatch& batch) {
  Plan plan;
  const Status status = make_plan(spec, batch, plan);
  REQUIRE_MESSAGE(status.ok(), status.message());
  return plan;
}

// What every plan must hold: tiles cover all rows once, items cover all splits of their tile once,
// partial slots do not overlap, and ranks fall.
void check_invariants(const PlanData& plan) {
  std::vector<int32_t> rows(static_cast<size_t>(plan.total_q));
  std::vector<int64_t> splits_of_tile(plan.tiles.size());
  std::vector<int32_t> items_of_tile(plan.tiles.size());
  for (const PlanTile& tile : plan.tiles) {
    const PlanSequence& seq = plan.sequences[static_cast<size_t>(tile.seq)];
    CHECK(tile.token_begin < tile.token_end);
    for (int32_t t = tile.token_begin; t < tile.token_end; ++t) {
      ++rows[static_cast<size_t>(seq.q_begin + t)];
      const KeyRange keys = visible_keys(int64_t{seq.q_start} + t, seq.kv_len,
                                         plan.spec.window_left, plan.spec.window_right);
      if (keys.begin == keys.end) continue;
      CHECK(keys.begin >= tile.key_begin);
      CHECK(keys.end <= tile.key_end);
    }
  }
  CHECK(std::ranges::all_of(rows, [](int32_t n) { return n == 1; }));

  for (size_t i = 0; i < plan.items.size(); ++i) {
    const PlanItem& item = plan.items[i];
    const auto t = static_cast<size_t>(item.tile);
    splits_of_tile[t] += item.split_end - item.split_begin;
    ++items_of_tile[t];
    CHECK(item.split_begin >= plan.tiles[t].first_split);
    CHECK(item.split_end <= plan.tiles[t].first_split + plan.tiles[t].num_splits);
    CHECK(item.rank >= item.cost);
    if (i > 0) CHECK(plan.items[i - 1].rank >= item.rank);
  }
  int64_t slots = 0;
  for (size_t t = 0; t < plan.tiles.size(); ++t) {
    const PlanTile& tile = plan.tiles[t];
    CHECK(splits_of_tile[t] == tile.num_splits);
    CHECK(items_of_tile[t] == tile.num_items);
    if (tile.num_items == 1) continue;
    CHECK(tile.partial_token == slots);
    slots += int64_t{tile.num_splits} * (tile.token_end - tile.token_begin);
  }
  CHECK(plan.partial_tokens == slots);
}

TEST_CASE("tiles, items and partial slots cover a mixed batch exactly once") {
  const PackedBatch mixed(
      {{1, 5000}, {0, 700}, {300, 300}, {7, 1}, {1, 0}, {16, 9000}, {512, 2048}});
  for (const int32_t window : {-1, 0, 100, 4096}) {
    for (const int32_t kv_heads : {1, 8, 32}) {
      AttentionSpec spec = llama_spec();
      spec.num_heads_kv = kv_heads;
      spec.window_left = window;
      CAPTURE(window);
      CAPTURE(kv_heads);
      check_invariants(*planned(spec, mixed.batch).data());
    }
  }
}

TEST_CASE("one long decode sequence is cut at multiples of kSplitKeys into many items") {
  const PackedBatch decode({{1, 131072 + 3}});
  const Plan plan = planned(llama_spec(), decode.batch);
  check_invariants(*plan.data());
  CHECK(plan.num_splits() == 257);
  CHECK(plan.num_items() >= 64);
  CHECK(plan.partial_bytes() == 257 * 32 * (128 + 2) * 4);
}

TEST_CASE("speculative tokens over a long history are cut along the keys too") {
  const PackedBatch speculative({{8, 16384}});
  CHECK(planned(llama_spec(), speculative.batch).num_items() > 16);
}

TEST_CASE("short sequences and long prompts write their results without partials") {
  CHECK(planned(llama_spec(), PackedBatch({{1, 512}, {1, 100}}).batch).partial_bytes() == 0);
  const Plan prompt = planned(llama_spec(), PackedBatch({{2048, 2048}}).batch);
  CHECK(prompt.partial_bytes() == 0);
  CHECK(prompt.num_items() == 32);  // 256 rows are 64 tokens of a group of 4
}

TEST_CASE("a few query tokens over a long history beside a long prompt are cut along the keys") {
  const Plan plan = planned(llama_spec(), PackedBatch({{100, 30000}, {1, 600}}).batch);
  check_invariants(*plan.data());
  CHECK(plan.data()->tiles.size() == 3);
  CHECK(plan.num_items() >= 2 * 16);
}

TEST_CASE("the last, shorter item of a tile with a long merge stands with the others") {
  const Plan plan = planned(llama_spec(), PackedBatch({{1, 20481}, {1, 300}}).batch);
  const std::vector<PlanItem>& items = plan.data()->items;
  REQUIRE(items.size() == 42);
  CHECK(items[40].cost < items[41].cost);
  CHECK(items[40].rank > items[41].rank);
}

TEST_CASE("partials stay below 256 MiB however long the history") {
  const PackedBatch chunk({{64, 2'000'000'000}});
  const Plan plan = planned(llama_spec(), chunk.batch);
  CHECK(plan.partial_bytes() <= int64_t{256} << 20);
  check_invariants(*plan.data());
}

TEST_CASE("where partials of all tiles need too much memory, those of few tokens are kept") {
  const Plan plan = planned(llama_spec(), PackedBatch({{211, 87172}, {1, 80000}}).batch);
  CHECK(plan.partial_bytes() <= int64_t{256} << 20);
  check_invariants(*plan.data());
  std::vector<int32_t> cut;
  for (const PlanTile& tile : plan.data()->tiles) {
    if (tile.num_items > 1) cut.push_back(tile.token_end - tile.token_begin);
  }
  CHECK(cut == std::vector<int32_t>{64, 19, 1});
}

TEST_CASE("tiles end at the last query token that int32 can count") {
  AttentionSpec spec;
  spec.num_heads_q = 1;
  spec.num_heads_kv = 1;
  spec.head_dim = 1;
  constexpr int32_t kLast = std::numeric_limits<int32_t>::max();
  const std::vector<int32_t> cu_q{0, kLast};
  const std::vector<int32_t> cu_k{0, 1};
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_q;
  batch.cu_seqlens_k = cu_k;
  const Plan plan = planned(spec, batch);
  CHECK(plan.num_items() == int64_t{kLast} / 256 + 1);
  CHECK(plan.data()->tiles.back().token_end == kLast);
}

TEST_CASE("keys outside the window are not planned") {
  AttentionSpec spec = llama_spec();
  spec.window_left = 1000;
  const Plan plan = planned(spec, PackedBatch({{1, 100'000}}).batch);
  const PlanTile& tile = plan.data()->tiles.at(0);
  CHECK(tile.key_begin == 100'000 - 1 - 1000);
  CHECK(tile.key_end == 100'000);
  CHECK(plan.kv_bytes(DType::kBF16) == 1001 * 8 * 256 * 2);
}

TEST_CASE("num_scores counts visible pairs of all query heads") {
  CHECK(planned(llama_spec(), PackedBatch({{4, 4}}).batch).num_scores() == 32 * (1 + 2 + 3 + 4));
  CHECK(planned(llama_spec(), PackedBatch({{3, 1}}).batch).num_scores() == 32 * 1);
  CHECK(planned(llama_spec(), PackedBatch({{2, 0}}).batch).num_scores() == 0);
}

TEST_CASE("the same batch always gives the same plan, and a plan object can be planned again") {
  const PackedBatch a({{1, 5000}, {300, 300}});
  const PackedBatch b({{16, 900}});
  Plan reused = planned(llama_spec(), b.batch);
  REQUIRE(make_plan(llama_spec(), a.batch, reused).ok());
  REQUIRE(make_plan(llama_spec(), b.batch, reused).ok());
  REQUIRE(make_plan(llama_spec(), a.batch, reused).ok());
  const Plan fresh = planned(llama_spec(), a.batch);
  REQUIRE(reused.num_items() == fresh.num_items());
  for (size_t i = 0; i < fresh.data()->items.size(); ++i) {
    CHECK(reused.data()->items[i].tile == fresh.data()->items[i].tile);
    CHECK(reused.data()->items[i].split_begin == fresh.data()->items[i].split_begin);
    CHECK(reused.data()->items[i].split_end == fresh.data()->items[i].split_end);
  }
  CHECK(reused.partial_bytes() == fresh.partial_bytes());
  CHECK(reused.num_splits() == fresh.num_splits());
}

TEST_CASE("a batch that is refused leaves the plan as it was") {
  Plan plan = planned(llama_spec(), PackedBatch({{1, 5000}}).batch);
  const int64_t items = plan.num_items();
  AttentionSpec wrong = llama_spec();
  wrong.num_heads_kv = 5;
  CHECK(make_plan(wrong, PackedBatch({{1, 10}}).batch, plan).code() == Code::kInvalidArgument);
  CHECK(plan.valid());
  CHECK(plan.num_items() == items);
}

TEST_CASE("an empty plan answers with zeros") {
  const Plan plan;
  CHECK_FALSE(plan.valid());
  CHECK(plan.batch_size() == 0);
  CHECK(plan.total_q() == 0);
  CHECK(plan.num_items() == 0);
  CHECK(plan.num_scores() == 0);
  CHECK(plan.kv_bytes(DType::kF32) == 0);
}

}  // namespace
}  // namespace attnrt
