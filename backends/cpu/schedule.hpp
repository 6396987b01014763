// SPDX-License-Identifier: Apache-2.0
// How the items of a plan are cut for a number of threads. Pure: no threads here.
#pragma once

#include <algorithm>
#include <cstdint>

#include "src/plan_data.hpp"

namespace attnrt::cpu {

/// Fewer units than this many per thread leave threads idle at the end; more cost locality: the
/// KV heads of one page lie side by side.
inline constexpr int64_t kUnitsPerThread = 8;

/// Tiles are not cut into pieces of fewer rows: packing K and V costs as much as 8 rows.
inline constexpr int64_t kMinRowsPerUnit = 64;

/// Every item is cut into head_chunks ranges of KV heads, and its tile, if one item holds all its
/// keys, into row_chunks ranges of tokens.
struct Schedule {
  int32_t head_chunks = 1;
  int32_t row_chunks = 1;
  int64_t num_units = 0;
};

/// One unit: item, KV heads and tokens (within the tile). Units without tokens are to be skipped.
struct Unit {
  int64_t item;
  int32_t head_chunk;
  int32_t kv_head_begin, kv_head_end;
  int32_t token_begin, token_end;
};

inline int64_t div_up(int64_t a, int64_t b) noexcept { return (a + b - 1) / b; }

inline Schedule make_schedule(const PlanData& plan, int32_t num_threads) noexcept {
  Schedule schedule;
  const auto items = static_cast<int64_t>(plan.items.size());
  if (items == 0) return schedule;
  if (num_threads > 1) {
    const int64_t wanted = kUnitsPerThread * num_threads;
    const int64_t heads = plan.spec.num_heads_kv;
    schedule.head_chunks = static_cast<int32_t>(std::min(heads, div_up(wanted, items)));
    const int64_t rows =
        int64_t{plan.max_tile_tokens} * (plan.spec.num_heads_q / plan.spec.num_heads_kv);
    const int64_t most = std::min<int64_t>(plan.max_tile_tokens, rows / kMinRowsPerUnit);
    schedule.row_chunks = static_cast<int32_t>(std::clamp<int64_t>(
        div_up(wanted, items * schedule.head_chunks), 1, std::max<int64_t>(1, most)));
  }
  schedule.num_units = items * schedule.head_chunks * schedule.row_chunks;
  return schedule;
}

inline Unit unit_at(const PlanData& plan, const Schedule& schedule, int64_t index) noexcept {
  Unit unit;
  const int64_t row_chunk = index % schedule.row_chunks;
  index /= schedule.row_chunks;
  unit.head_chunk = static_cast<int32_t>(index % schedule.head_chunks);
  unit.item = index / schedule.head_chunks;

  const auto cut = [](int64_t total, int64_t part, int64_t parts) {
    return static_cast<int32_t>(total * part / parts);
  };
  unit.kv_head_begin = cut(plan.spec.num_heads_kv, unit.head_chunk, schedule.head_chunks);
  unit.kv_head_end = cut(plan.spec.num_heads_kv, unit.head_chunk + 1, schedule.head_chunks);

  const PlanTile& tile =
      plan.tiles[static_cast<size_t>(plan.items[static_cast<size_t>(unit.item)].tile)];
  const int32_t tokens = tile.token_end - tile.token_begin;
  const bool whole = tile.num_items > 1;  // its items meet in one merge
  unit.token_begin =
      whole ? (row_chunk == 0 ? 0 : tokens) : cut(tokens, row_chunk, schedule.row_chunks);
  unit.token_end = whole ? tokens : cut(tokens, row_chunk + 1, schedule.row_chunks);
  return unit;
}

}  // namespace attnrt::cpu
