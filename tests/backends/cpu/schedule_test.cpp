// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/schedule.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "src/plan_cost.hpp"

namespace attnrt::cpu {
namespace {

// A packed batch of (query tokens, keys), planned and cut.
struct CutBatch {
  CutBatch(const std::vector<std::pair<int32_t, int32_t>>& q_and_kv, const AttentionSpec& spec,
           int32_t threads) {
    std::vector<int32_t> cu_q{0}, cu_k{0};
    for (const auto& [q_len, kv_len] : q_and_kv) {
      cu_q.push_back(cu_q.back() + q_len);
      cu_k.push_back(cu_k.back() + kv_len);
    }
    SequenceBatch batch;
    batch.cu_seqlens_q = cu_q;
    batch.cu_seqlens_k = cu_k;
    REQUIRE(make_plan(spec, batch, plan).ok());
    memory.resize((schedule_bytes(data()) + sizeof(int64_t) - 1) / sizeof(int64_t));
    schedule = make_schedule(data(), threads, memory.data());
  }

  [[nodiscard]] const PlanData& data() const { return *plan.data(); }
  [[nodiscard]] Unit unit(int64_t index) const { return unit_at(data(), schedule, index); }

  Plan plan;
  std::vector<int64_t> memory;
  Schedule schedule;
};

AttentionSpec llama_spec(int32_t heads_kv = 8) {
  AttentionSpec spec;
  spec.num_heads_q = heads_kv * 4;
  spec.num_heads_kv = heads_kv;
  spec.head_dim = 128;
  spec.causal = true;
  return spec;
}

const std::vector<std::pair<int32_t, int32_t>> kMixed{{1, 3000}, {40, 500},   {4, 6000},
                                                      {0, 100},  {512, 4096}, {1, 1}};

// Every token and query head of a tile must be in exactly one piece of its late merge.
void check_late_merges(const CutBatch& cut, const std::vector<bool>& late) {
  const PlanData& data = cut.data();
  const auto heads = static_cast<size_t>(data.spec.num_heads_q);
  const auto tokens = static_cast<size_t>(data.max_tile_tokens);
  std::vector<int32_t> merged(data.tiles.size() * tokens * heads);
  for (int64_t i = 0; i < cut.schedule.num_merge_pieces; ++i) {
    const MergePiece piece = merge_piece_at(data, cut.schedule, i);
    CHECK(piece.token_begin < piece.token_end);
    CHECK(piece.head_begin < piece.head_end);
    for (int32_t t = piece.token_begin; t < piece.token_end; ++t) {
      for (int32_t h = piece.head_begin; h < piece.head_end; ++h) {
        ++merged[(static_cast<size_t>(piece.tile) * tokens + static_cast<size_t>(t)) * heads +
                 static_cast<size_t>(h)];
      }
    }
  }
  for (size_t i = 0; i < merged.size(); ++i) {
    const PlanTile& tile = data.tiles[i / heads / tokens];
    const auto token = static_cast<int32_t>(i / heads % tokens);
    const bool wanted = late[i / heads / tokens] && token < tile.token_end - tile.token_begin;
    CHECK(merged[i] == (wanted ? 1 : 0));
  }
}

// Every (tile token, KV head, item) must be computed by exactly one unit, and a merge chunk must be
// reached by exactly one unit of every item, the last of which merges, if the merge is not late.
void check_cover(const AttentionSpec& spec, int32_t threads) {
  CAPTURE(spec.num_heads_kv);
  CAPTURE(threads);
  const CutBatch cut(kMixed, spec, threads);
  const PlanData& data = cut.data();
  const auto heads = static_cast<size_t>(spec.num_heads_kv);
  const auto tokens = static_cast<size_t>(data.max_tile_tokens);
  const auto chunks = static_cast<size_t>(cut.schedule.merge_chunks);
  std::vector<int32_t> seen(data.items.size() * heads * tokens);
  std::vector<int32_t> arrived(data.tiles.size() * chunks);
  std::vector<bool> as_one(data.tiles.size()), late(data.tiles.size());
  for (int64_t u = 0; u < cut.schedule.num_units; ++u) {
    const Unit unit = cut.unit(u);
    CHECK(unit.token_begin < unit.token_end);
    CHECK(unit.kv_head_begin < unit.kv_head_end);
    const auto tile = static_cast<size_t>(data.items[static_cast<size_t>(unit.item)].tile);
    for (size_t i = 0; i < data.items.size(); ++i) {
      const bool part_of_it = std::cmp_equal(i, unit.item) ||
                              (unit.all_keys && std::cmp_equal(data.items[i].tile, tile));
      if (!part_of_it) continue;
      for (int32_t h = unit.kv_head_begin; h < unit.kv_head_end; ++h) {
        for (int32_t t = unit.token_begin; t < unit.token_end; ++t) {
          ++seen[(i * heads + static_cast<size_t>(h)) * tokens + static_cast<size_t>(t)];
        }
      }
    }
    as_one[tile] = unit.all_keys;
    if (unit.all_keys) {
      CHECK(unit_keys(data, unit).begin == data.tiles[tile].key_begin);
      continue;
    }
    late[tile] = unit.late_merge;
    if (unit.late_merge) continue;
    CHECK(unit.token_begin == 0);
    CHECK(unit.token_end == data.tiles[tile].token_end - data.tiles[tile].token_begin);
    const MergeChunks merges = merge_chunks_of(data, cut.schedule, unit);
    CHECK(head_at(spec.num_heads_kv, merges.begin, cut.schedule.merge_chunks) ==
          unit.kv_head_begin);
    CHECK(head_at(spec.num_heads_kv, merges.end, cut.schedule.merge_chunks) == unit.kv_head_end);
    for (int32_t c = merges.begin; c < merges.end; ++c) {
      ++arrived[tile * chunks + static_cast<size_t>(c)];
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
  for (size_t t = 0; t < data.tiles.size(); ++t) {
    if (as_one[t] || late[t]) continue;
    for (size_t c = 0; c < chunks; ++c) CHECK(arrived[t * chunks + c] == data.tiles[t].num_items);
  }
  check_late_merges(cut, late);
}

TEST_CASE("units cover every item, KV head and token exactly once, and meet in merges") {
  for (const int32_t heads_kv : {1, 3, 8, 12}) {
    for (const int32_t threads : {1, 2, 3, 7, 64, 1000}) check_cover(llama_spec(heads_kv), threads);
  }
}

TEST_CASE("costs of units add up to those of their items, as far as rows are not cut") {
  const CutBatch cut({{1, 3000}, {2, 6000}}, llama_spec(), 16);
  int64_t units = 0;
  for (int64_t u = 0; u < cut.schedule.num_units; ++u) {
    CHECK(!cut.unit(u).all_keys);
    units += unit_cost(cut.data(), cut.unit(u));
  }
  int64_t items = 0;
  for (const PlanItem& item : cut.data().items) items += 8 * item.cost;
  CHECK(units == items);
}

TEST_CASE("tiles run as one where few workers are busy without their splits") {
  std::vector<std::pair<int32_t, int32_t>> batch(32, {1, 4096});
  const CutBatch two(batch, llama_spec(), 2);
  REQUIRE(two.plan.num_items() > 32);
  for (int64_t u = 0; u < two.schedule.num_units; ++u) CHECK(two.unit(u).all_keys);
  CHECK(unit_keys(two.data(), two.unit(0)).end == 4096);
  CHECK(two.schedule.num_units < 64);
  const CutBatch many(batch, llama_spec(), 16);
  for (int64_t u = 0; u < many.schedule.num_units; ++u) CHECK(!many.unit(u).all_keys);

  const std::vector<std::pair<int32_t, int32_t>> chunk{{128, 16384}};
  const CutBatch tall(chunk, llama_spec(), 2);
  REQUIRE(tall.plan.num_items() > 2);
  for (int64_t u = 0; u < tall.schedule.num_units; ++u) CHECK(tall.unit(u).all_keys);
  CHECK(!CutBatch(chunk, llama_spec(), 16).unit(0).all_keys);
}

TEST_CASE("pieces of a causal tile fall in size and end at the last key that their tokens see") {
  const CutBatch cut({{64, 64}}, llama_spec(1), 16);
  const int64_t units = cut.schedule.num_units;
  REQUIRE(units >= 4);
  int32_t before = 64;
  for (int64_t u = 0; u < units; ++u) {
    const Unit unit = cut.unit(u);
    CHECK(unit_keys(cut.data(), unit).end == unit.token_end);
    const int32_t tokens = unit.token_end - unit.token_begin;
    CHECK(tokens <= before + 1);  // whole tokens only
    before = tokens;
    CHECK(unit_cost(cut.data(), unit) == attend_cost(4 * int64_t{tokens}, unit.token_end));
  }
  CHECK(cut.unit(0).token_end - cut.unit(0).token_begin > before);
}

TEST_CASE("one thread takes whole tiles") {
  const CutBatch cut(kMixed, llama_spec(), 1);
  CHECK(std::cmp_equal(cut.schedule.num_units, cut.data().tiles.size()));
}

TEST_CASE("a short call wakes no more workers than have 10 us of work each") {
  CHECK(CutBatch({{1, 64}}, llama_spec(), 16).schedule.num_workers == 1);
  CHECK(CutBatch({{1, 64}}, llama_spec(), 16).schedule.num_units == 1);
  CHECK(CutBatch({{1, 128}}, llama_spec(), 16).schedule.num_workers == 2);
  CHECK(CutBatch({{1, 512}}, llama_spec(), 16).schedule.num_workers == 8);
  CHECK(CutBatch({{1, 4096}}, llama_spec(), 16).schedule.num_workers == 16);
  CHECK(CutBatch({{1, 4096}}, llama_spec(), 2).schedule.num_workers == 2);

  AttentionSpec narrow = llama_spec();
  narrow.head_dim = 64;
  CHECK(CutBatch({{1, 512}}, narrow, 16).schedule.num_workers == 4);
  AttentionSpec latent = llama_spec(1);
  latent.num_heads_q = 8;
  latent.head_dim = 576;
  latent.head_dim_v = 512;
  CHECK(CutBatch({{1, 512}}, latent, 16).schedule.num_workers == 5);
}

TEST_CASE("the long merge of a tall tile is left for all threads, and its items are cut by rows") {
  const CutBatch cut({{97, 56397}}, llama_spec(), 128);
  CHECK(cut.schedule.num_merges == 2);
  CHECK(cut.schedule.num_merge_pieces >= 2 * 128);
  const Unit last = cut.unit(cut.schedule.num_units - 1);
  REQUIRE(last.late_merge);
  CHECK(last.token_begin > 0);
  // Whatever its tokens see: the merge reads all splits of the item.
  CHECK(unit_keys(cut.data(), last).end == 56397);
}

TEST_CASE("the merge of a long decode is left for all threads only if nothing else is left") {
  CHECK(CutBatch({{1, 131072}}, llama_spec(), 128).schedule.num_merges == 1);
  std::vector<std::pair<int32_t, int32_t>> batch(32, {1, 20000});
  batch.front().second = 131072;
  CHECK(CutBatch(batch, llama_spec(), 128).schedule.num_merges == 0);
}

TEST_CASE("states are kept only for a number of threads that needs them") {
  const CutBatch cut({{97, 56397}}, llama_spec(), 128);
  bool kept = false;
  for (int32_t threads = 1; threads <= 128; ++threads) {
    const bool keeps = keeps_partials(cut.data(), threads);
    CHECK(keeps >= kept);
    kept = keeps;
    const CutBatch again({{97, 56397}}, llama_spec(), threads);
    bool all_as_one = true;
    for (int64_t u = 0; u < again.schedule.num_units; ++u) {
      all_as_one = all_as_one && again.unit(u).all_keys;
    }
    CHECK(keeps == !all_as_one);
  }
  CHECK(!keeps_partials(cut.data(), 1));
  CHECK(kept);
}

TEST_CASE("KV heads stay together but for the end of the work") {
  const CutBatch cut({{1, 131072}}, llama_spec(), 4);
  const int64_t items = cut.plan.num_items();
  REQUIRE(items >= 128);
  CHECK(cut.schedule.num_units > items);
  CHECK(cut.schedule.num_units < items + items / 2);
  const Unit first = cut.unit(0);
  CHECK(first.kv_head_end - first.kv_head_begin == 8);
  const Unit last = cut.unit(cut.schedule.num_units - 1);
  CHECK(last.kv_head_end - last.kv_head_begin <= 4);
}

TEST_CASE("a prompt chunk is cut, the decodes beside it are not") {
  const CutBatch cut({{512, 8192}, {1, 400}, {1, 300}, {1, 200}}, llama_spec(), 16);
  CHECK(cut.schedule.num_units >= 4 * 16);
  for (int64_t i = 0; i < cut.schedule.num_items; ++i) {
    const PlanItem& item = cut.data().items[static_cast<size_t>(i)];
    if (cut.data().tiles[static_cast<size_t>(item.tile)].seq == 0) continue;
    CHECK(cut.schedule.cuts[i].head_chunks == 1);
  }
}

TEST_CASE("an empty plan has no units") {
  const CutBatch cut({}, llama_spec(), 8);
  CHECK(cut.schedule.num_units == 0);
}

}  // namespace
}  // namespace attnrt::cpu
