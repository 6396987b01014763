// SPDX-License-Identifier: Apache-2.0
// What a plan holds. Written by plan.cpp only; read by every backend.
#pragma once

#include <cstdint>
#include <vector>

#include "attnrt/attention.hpp"

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

/// Query tokens [token_begin, token_end) of one sequence, processed together with all heads of a
/// group. [key_begin, key_end) is the union of the keys its rows see; empty if they see none.
struct PlanTile {
  int32_t seq = 0;
  int32_t token_begin = 0;  // within the sequence
  int32_t token_end = 0;
  int32_t key_begin = 0;
  int32_t key_end = 0;
  int32_t first_split = 0;    // key_begin / kSplitKeys
  int32_t num_splits = 0;     // splits that [key_begin, key_end) touches
  int32_t num_items = 0;      // 1: the item folds its splits itself and writes the result
  int32_t merge_group = -1;   // index of the merge counter; -1 when num_items is 1
  int64_t partial_token = 0;  // first slot of partials, in (split, token) pairs
};

/// A unit of parallel work: consecutive splits of one tile, all KV heads. Backends may cut it by
/// heads and rows, never by keys, or run all items of a tile as one, without partials.
struct PlanItem {
  int32_t tile = 0;
  int32_t split_begin = 0;  // absolute split numbers; keys are clipped to the tile's range
  int32_t split_end = 0;
  int64_t cost = 0;  // attend_cost of one KV head
  int64_t rank = 0;  // items stand by falling rank: the cost, or the tile's largest of an item
};

struct PlanData {
  AttentionSpec spec;  // head_dim_v and softmax_scale filled in, causal folded into
                       // window_right
  std::vector<PlanSequence> sequences;
  std::vector<PlanTile> tiles;
  std::vector<PlanItem> items;  // largest rank first
  int32_t total_q = 0;
  int32_t page_size = 0;        // 0: packed
  int32_t max_splits = 0;       // over sequences, of all their keys
  int32_t max_tile_tokens = 0;  // tallest tile
  int32_t merge_groups = 0;     // merge counters needed, per KV head
  int64_t partial_tokens = 0;   // (split, token) pairs that keep a partial
  int64_t keys_seen = 0;        // keys that some row sees, summed over sequences
  int64_t packed_tokens = 0;    // packed: keys that K and V must hold
  int32_t max_page_id = -1;     // largest id, with where it stands
  int32_t max_page_seq = 0;
  int32_t max_page_index = 0;

  // First sequence whose key 0 does not stand at a multiple of 16 slots, which packed16 needs.
  int32_t odd_leftpad_seq = -1;
};

}  // namespace attnrt
