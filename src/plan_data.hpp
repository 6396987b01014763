// SPDX-License-Identifier: Apache-2.0
// What a plan holds. Written by plan.cpp only; read by every backend.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "attnrt/attention.hpp"
#include "src/expr/tile_code.hpp"

namespace attnrt {

/// One sequence of the batch, as planned.
struct PlanSequence {
  int32_t q_begin = 0;             // first row of q
  int32_t q_len = 0;               // query tokens
  int32_t kv_len = 0;              // valid keys, leftpad left out
  int32_t q_start = 0;             // logical position of the first query token
  int64_t first_slot = 0;          // slot of key 0: leftpad when paged, cu_seqlens_k when packed
  const int32_t* pages = nullptr;  // borrowed; null when packed
};

class PlanMask;
class PlanScore;

/// Query tokens [token_begin, token_end) of one sequence and some of the KV heads, processed
/// together with all heads of a group. [key_begin, key_end) holds all keys its rows see; empty if
/// they see none.
struct PlanTile {
  int32_t seq = 0;
  int32_t token_begin = 0;  // within the sequence
  int32_t token_end = 0;
  int32_t kv_head_begin = 0;  // all heads, but for masks that depend on the head
  int32_t kv_head_end = 0;
  int32_t run_begin = 0;  // of PlanData::runs, where there is a mask; they lie within the keys
  int32_t run_end = 0;
  int32_t key_begin = 0;
  int32_t key_end = 0;
  int32_t keys = 0;           // of these that the runs hold; all without a mask
  int32_t first_split = 0;    // key_begin / kSplitKeys
  int32_t num_splits = 0;     // splits that [key_begin, key_end) touches
  int32_t num_items = 0;      // 1: the item folds its splits itself and writes the result
  int32_t merge_group = -1;   // index of the merge counter; -1 when num_items is 1
  int64_t partial_token = 0;  // first slot of partials, in (split, token) pairs
};

/// A unit of parallel work: consecutive splits of one tile, all its KV heads. Backends may cut it
/// by heads and rows, never by keys, or run all items of a tile as one, without partials.
struct PlanItem {
  int32_t tile = 0;
  int32_t split_begin = 0;  // absolute split numbers; keys are clipped to the tile's range
  int32_t split_end = 0;
  int64_t cost = 0;  // attend_cost of one KV head
  int64_t rank = 0;  // items stand by falling rank: the cost, or a larger one of the whole tile
};

struct PlanData {
  uint64_t serial = 0;  // of this process, another one each time: what a device may know it by
  AttentionSpec asked;  // as make_plan was given it
  AttentionSpec spec;   // head_dim_v and softmax_scale filled in, causal and those parts of the
                        // mask that are windows folded into the windows
  std::shared_ptr<PlanMask> mask;          // null: the windows are all there is
  std::shared_ptr<const PlanScore> score;  // null: the options are all there is
  std::vector<PlanSequence> sequences;
  std::vector<PlanTile> tiles;
  std::vector<expr::MaskRun> runs;  // of tiles with a mask, each tile's in order of keys and apart
  std::vector<PlanItem> items;      // largest rank first
  int32_t total_q = 0;
  int32_t page_size = 0;        // 0: packed
  int32_t max_splits = 0;       // over sequences, of all their keys
  int32_t max_tile_tokens = 0;  // tallest tile
  int32_t merge_groups = 0;     // merge counters needed, per KV head
  int64_t partial_tokens = 0;   // (split, token) pairs that keep a partial
  int64_t keys_seen = 0;        // keys that some row sees, summed over sequences and KV heads
  int64_t packed_tokens = 0;    // packed: keys that K and V must hold
  int32_t max_page_id = -1;     // largest id, with where it stands
  int32_t max_page_seq = 0;
  int32_t max_page_index = 0;

  // First sequence whose key 0 does not stand at a multiple of 16 slots, which packed16 needs.
  int32_t odd_leftpad_seq = -1;

  [[nodiscard]] std::span<const expr::MaskRun> runs_of(const PlanTile& tile) const {
    return std::span(runs).subspan(static_cast<size_t>(tile.run_begin),
                                   static_cast<size_t>(tile.run_end - tile.run_begin));
  }
};

/// Rows that one query token makes of one KV head: the heads of its group, in every branch.
inline int32_t rows_of_token(const AttentionSpec& spec) noexcept {
  return spec.num_heads_q / spec.num_heads_kv * spec.num_branches;
}

/// Rows of a tile, of one KV head.
inline int64_t tile_rows(const PlanData& plan, const PlanTile& tile) noexcept {
  return int64_t{tile.token_end - tile.token_begin} * rows_of_token(plan.spec);
}

/// KV heads of a tile.
inline int32_t heads_of(const PlanTile& tile) noexcept {
  return tile.kv_head_end - tile.kv_head_begin;
}

/// Keys of a tile, those of its runs where there is a mask, that stand within [begin, end).
inline int32_t keys_within(const PlanData& plan, const PlanTile& tile, int64_t begin,
                           int64_t end) noexcept {
  const auto overlap = [&](int64_t first, int64_t last) {
    return static_cast<int32_t>(std::max<int64_t>(0, std::min(last, end) - std::max(first, begin)));
  };
  if (plan.mask == nullptr) return overlap(tile.key_begin, tile.key_end);
  int32_t keys = 0;
  for (const expr::MaskRun& run : plan.runs_of(tile)) keys += overlap(run.key_begin, run.key_end);
  return keys;
}

/// Of the unmerged states that items keep.
inline int64_t partial_bytes(const PlanData& plan) noexcept {
  const int64_t states = int64_t{plan.spec.num_heads_q} * plan.spec.num_branches;
  const int64_t floats = states * (plan.spec.head_dim_v + 2);
  return plan.partial_tokens * floats * static_cast<int64_t>(sizeof(float));
}

}  // namespace attnrt
