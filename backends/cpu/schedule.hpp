// SPDX-License-Identifier: Apache-2.0
// How the items of a plan are cut into units for a number of threads. Pure: no threads here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "src/plan_data.hpp"
#include "src/visible_range.hpp"

namespace attnrt::cpu {

/// How one item is cut: ranges of KV heads times ranges of tokens of its tile. Where few workers
/// are busy without it, all items of a tile run as one, so that there is nothing to merge: then the
/// item at the tile's first split has their units, and the others have none.
struct ItemCut {
  int64_t first_unit;
  int32_t head_chunks;  // a power of two, or every head by itself; 0: no units
  int32_t row_chunks;
  bool all_keys;    // of the tile
  bool late_merge;  // the tile's states are folded when all units are done
};

/// A tile whose states are folded by threads that would else watch the few that fold them all.
struct LateMerge {
  int64_t first_piece;
  int32_t tile;
  int32_t head_chunks;
};

/// Units in the order in which they are to be taken. Items come largest first, and a unit is at
/// most a fixed part of what is left for each thread when its item begins: large units, which keep
/// the KV heads of a page together, at the start, small ones only where threads would otherwise
/// wait for each other at the end.
struct Schedule {
  ItemCut* cuts = nullptr;  // [num_items], in the caller's memory
  int64_t num_items = 0;
  int64_t num_units = 0;
  int32_t num_workers = 1;      // threads that are worth waking up
  int32_t merge_chunks = 1;     // the most head_chunks of any item: how finely merges are counted
  LateMerge* merges = nullptr;  // [num_merges], in the caller's memory, behind cuts
  int64_t num_merges = 0;
  int64_t num_merge_pieces = 0;  // to be taken in any order when all units are done
};

/// One unit: item, KV heads and tokens (within the tile). Never empty.
struct Unit {
  int64_t item;
  int32_t kv_head_begin, kv_head_end;
  int32_t token_begin, token_end;
  bool all_keys = false;    // of the tile, not only of the item: nothing to merge
  bool late_merge = false;  // nothing to merge yet
};

/// Rows to be merged: tokens (within the tile) and query heads. Never empty.
struct MergePiece {
  int32_t tile;
  int32_t token_begin, token_end;
  int32_t head_begin, head_end;
};

/// Whether some tile is not run as one with so many threads, so that its states must be kept. Never
/// where a larger number of threads needs none.
bool keeps_partials(const PlanData& plan, int32_t num_threads) noexcept;

/// Bytes, 8-byte aligned, that make_schedule writes.
size_t schedule_bytes(const PlanData& plan) noexcept;

/// O(items): a few ns each. Results never depend on the cut.
Schedule make_schedule(const PlanData& plan, int32_t num_threads, void* memory) noexcept;

/// O(log items). 0 <= index < num_units.
Unit unit_at(const PlanData& plan, const Schedule& schedule, int64_t index) noexcept;

/// Of a late merge: one token and some heads. O(log merges). 0 <= index < num_merge_pieces.
MergePiece merge_piece_at(const PlanData& plan, const Schedule& schedule, int64_t index) noexcept;

/// Keys of the item, or those of its tile that tokens of the unit see: a piece of a causal tile
/// ends earlier.
KeyRange unit_keys(const PlanData& plan, const Unit& unit) noexcept;

/// attend_cost of all KV heads of the unit.
int64_t unit_cost(const PlanData& plan, const Unit& unit) noexcept;

/// First KV head of part `part` of `parts`. The parts of a power of two are whole parts of any
/// larger one.
constexpr int32_t head_at(int32_t heads, int64_t part, int32_t parts) noexcept {
  return static_cast<int32_t>(heads * part / parts);
}

/// All tokens of a tile and the heads of one merge chunk.
MergePiece merge_piece_of(const PlanData& plan, const Schedule& schedule, int32_t tile,
                          int32_t chunk) noexcept;

/// Merge chunks [begin, end) whose KV heads the unit holds.
struct MergeChunks {
  int32_t begin, end;
};
MergeChunks merge_chunks_of(const PlanData& plan, const Schedule& schedule,
                            const Unit& unit) noexcept;

}  // namespace attnrt::cpu
