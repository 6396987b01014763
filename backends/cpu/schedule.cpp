// SPDX-License-Identifier: Apache-2.0
// Guided cutting: the next piece of work is a fixed part of what is left.
#include "backends/cpu/schedule.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "src/plan_cost.hpp"

namespace attnrt::cpu {
namespace {

// A unit is at most 1/kUnitsLeft of what is left for each thread. 1 would balance threads that are
// all as fast as the cost model says; 4 leaves room for cores that are not, and for workers that
// wake up late. Pieces of rows read the same keys again, so there are fewer of them.
constexpr double kUnitsLeft = 4.0;
constexpr double kRowUnitsLeft = 1.5;

// Nor is an item cut into units smaller than 1/kUnitsInAll of a thread's share of the whole.
constexpr double kUnitsInAll = 64.0;

// Tiles are not cut into pieces of fewer rows: to read or pack K and V costs as much as 8 rows.
constexpr int64_t kMinRowsPerUnit = 16;

// Tiles whose items may run one after the other: pieces of this many rows, and as many pieces for a
// worker as leave the last one waiting for a few percent of the time.
constexpr int64_t kPieceRows = 64;
constexpr double kPiecesPerWorker = 8.0;

// Work that pays for one more worker, 10 us of it: to wake a thread costs the caller 5 us, and 40
// us pass before it takes its first unit if it had gone to sleep (measured on two virtual cores).
// Costs are the same for all head dims, their times are not: this is for 256 columns of K and V.
constexpr double kWorkerCost = 6000.0;
constexpr double kWorkerColumns = 256.0;

// A thread that is the last to reach a merge does it alone. One that is longer than this part of a
// thread's share, and than 10 us, waits for all units instead, and all threads share it: 97 tokens
// over 56k keys on 128 simulated threads had a balance of 1.30 without.
constexpr double kLateMerge = 1.0 / 64.0;

// But while it is at most so many times shorter than what is left for each of the others, it is
// done beside that. Tall tiles are not, because items may then be cut by rows, too.
constexpr double kMergeMargin = 2.0;

int64_t div_up(int64_t a, int64_t b) noexcept { return (a + b - 1) / b; }

const PlanTile& tile_of(const PlanData& plan, int64_t item) noexcept {
  return plan.tiles[static_cast<size_t>(plan.items[static_cast<size_t>(item)].tile)];
}

// Of all its KV heads.
double item_cost(const PlanData& plan, int64_t item) noexcept {
  const auto cost = static_cast<double>(plan.items[static_cast<size_t>(item)].cost);
  return cost * heads_of(tile_of(plan, item));
}

// In doubles, because the costs of 2^31 queries times heads pass int64.
double total_cost(const PlanData& plan) noexcept {
  double total = 0.0;
  for (int64_t i = 0; i < std::ssize(plan.items); ++i) total += item_cost(plan, i);
  return total;
}

double worker_cost(const PlanData& plan) noexcept {
  return kWorkerCost * kWorkerColumns / (plan.spec.head_dim + plan.spec.head_dim_v);
}

int32_t num_workers(const PlanData& plan, double total, int32_t num_threads) noexcept {
  return static_cast<int32_t>(
      std::clamp(total / worker_cost(plan), 1.0, static_cast<double>(num_threads)));
}

int64_t most_row_chunks(const PlanData& plan, const PlanTile& tile) noexcept {
  return std::clamp<int64_t>(tile_rows(plan, tile) / kMinRowsPerUnit, 1,
                             tile.token_end - tile.token_begin);
}

// What the last item of the tile does besides, for one KV head.
int64_t merge_of(const PlanData& plan, const PlanTile& tile) noexcept {
  return merge_cost(tile_rows(plan, tile), tile.num_splits);
}

int64_t round_up(double pieces) noexcept {
  return static_cast<int64_t>(std::ceil(std::min(pieces, 0x1p31)));
}

// An item, or a whole tile, that should become this many units. Items that meet in one merge before
// all are done are not cut by rows.
ItemCut cut_into(const PlanData& plan, const PlanTile& tile, bool by_rows, double pieces) noexcept {
  const int64_t heads = heads_of(tile);
  ItemCut cut{0, 1, 1, false, false};
  if (pieces <= 1.0) return cut;
  const uint64_t chunks = std::bit_ceil(static_cast<uint64_t>(round_up(pieces)));
  cut.head_chunks = static_cast<int32_t>(std::min(heads, static_cast<int64_t>(chunks)));
  const int64_t with_rows = round_up(pieces * (kRowUnitsLeft / kUnitsLeft));
  if (!by_rows || with_rows <= heads) return cut;
  cut.row_chunks =
      static_cast<int32_t>(std::min(div_up(with_rows, heads), most_row_chunks(plan, tile)));
  return cut;
}

int32_t group_of(const PlanData& plan) noexcept {
  return plan.spec.num_heads_q / plan.spec.num_heads_kv;
}

double tile_cost(const PlanTile& tile, int64_t rows) noexcept {
  return static_cast<double>(attend_cost(rows, tile.keys));
}

// Whether all items of a tile run as one. Not if a worker then had few pieces to choose from:
// tiles of a few rows with all their KV heads, because they are bound by memory and the heads of a
// page lie side by side, taller ones cut by heads and rows.
bool runs_as_one(const PlanData& plan, const PlanTile& tile, double total,
                 double workers) noexcept {
  if (tile.num_items == 1 || workers <= 1.0) return true;
  const int64_t rows = tile_rows(plan, tile);
  const double piece = rows > kPieceRows ? tile_cost(tile, std::min(rows, kPieceRows))
                                         : tile_cost(tile, rows) * heads_of(tile);
  return piece * kPiecesPerWorker * workers <= total;
}

// Where piece `part` of `parts` begins. Pieces fall in size, from 3/2 to 1/2 of their mean, so that
// small ones are there for the end also when one tall tile is all that is left.
int32_t token_at(int64_t tokens, int64_t part, int64_t parts) noexcept {
  if (tokens < 2 * parts) return static_cast<int32_t>(tokens * part / parts);
  return static_cast<int32_t>(tokens * part * (3 * parts - part) / (2 * parts * parts));
}

// Work of a call, before an item.
struct WorkLeft {
  double total, left, workers;
};

// Decided at the first item of a tile whose items stand together.
bool merges_late(const PlanData& plan, const PlanItem& item, const WorkLeft& work) noexcept {
  if (item.rank == item.cost) return false;
  const PlanTile& tile = plan.tiles[static_cast<size_t>(item.tile)];
  const auto merge = static_cast<double>(merge_of(plan, tile));
  const double others = work.left - tile_cost(tile, tile_rows(plan, tile)) * heads_of(tile);
  return merge > std::max(worker_cost(plan), work.total / work.workers * kLateMerge) &&
         (tile_rows(plan, tile) > kPieceRows || merge * kMergeMargin > others / work.workers);
}

// Behind a barrier, where threads have nothing else to do.
void add_late_merge(const PlanData& plan, int32_t tile_index, Schedule& schedule) noexcept {
  const PlanTile& tile = plan.tiles[static_cast<size_t>(tile_index)];
  const int64_t tokens = tile.token_end - tile.token_begin;
  const int64_t pieces = round_up(kUnitsLeft * schedule.num_workers);
  const int64_t chunks =
      std::clamp<int64_t>(div_up(pieces, tokens), 1, int64_t{heads_of(tile)} * group_of(plan));
  schedule.merges[schedule.num_merges++] = {schedule.num_merge_pieces, tile_index,
                                            static_cast<int32_t>(chunks)};
  schedule.num_merge_pieces += tokens * chunks;
}

}  // namespace

bool keeps_partials(const PlanData& plan, int32_t num_threads) noexcept {
  if (plan.merge_groups == 0) return false;
  const double total = total_cost(plan);
  const double workers = num_workers(plan, total, num_threads);
  return std::ranges::any_of(
      plan.tiles, [&](const PlanTile& tile) { return !runs_as_one(plan, tile, total, workers); });
}

size_t schedule_bytes(const PlanData& plan) noexcept {
  return plan.items.size() * sizeof(ItemCut) +
         static_cast<size_t>(plan.merge_groups) * sizeof(LateMerge);
}

Schedule make_schedule(const PlanData& plan, int32_t num_threads, void* memory) noexcept {
  Schedule schedule;
  schedule.cuts = static_cast<ItemCut*>(memory);
  schedule.num_items = static_cast<int64_t>(plan.items.size());
  schedule.merges = reinterpret_cast<LateMerge*>(schedule.cuts + schedule.num_items);
  const double total = total_cost(plan);
  schedule.num_workers = num_workers(plan, total, num_threads);
  const double workers = schedule.num_workers;
  const double least = total / (kUnitsInAll * workers);
  double left = total;
  bool late = false;
  for (int64_t i = 0; i < schedule.num_items; ++i) {
    const PlanItem& item = plan.items[static_cast<size_t>(i)];
    const PlanTile& tile = tile_of(plan, i);
    const double heads = heads_of(tile);
    const double most = std::max(least, left / (kUnitsLeft * workers));
    ItemCut& cut = schedule.cuts[i];
    if (!runs_as_one(plan, tile, total, workers)) {
      const double merge = static_cast<double>(merge_of(plan, tile));
      const bool first = item.split_begin == tile.first_split;
      if (first || item.rank == item.cost) late = merges_late(plan, item, {total, left, workers});
      const double cost = static_cast<double>(item.cost) + (late ? 0.0 : merge);
      cut = cut_into(plan, tile, late, cost * heads / most);
      cut.late_merge = late;
      if (late && first) add_late_merge(plan, item.tile, schedule);
    } else if (item.split_begin == tile.first_split) {
      const double cost = tile_cost(tile, tile_rows(plan, tile));
      cut = cut_into(plan, tile, true, workers > 1.0 ? cost * heads / most : 1.0);
      cut.all_keys = true;
    } else {
      cut = {0, 0, 0, true, false};
    }
    cut.first_unit = schedule.num_units;
    schedule.num_units += int64_t{cut.head_chunks} * cut.row_chunks;
    schedule.merge_chunks = std::max(schedule.merge_chunks, cut.head_chunks);
    left -= item_cost(plan, i);
  }
  return schedule;
}

Unit unit_at(const PlanData& plan, const Schedule& schedule, int64_t index) noexcept {
  const ItemCut* after =
      std::upper_bound(schedule.cuts, schedule.cuts + schedule.num_items, index,
                       [](int64_t unit, const ItemCut& cut) { return unit < cut.first_unit; });
  const ItemCut& cut = after[-1];
  Unit unit;
  unit.item = after - 1 - schedule.cuts;
  unit.all_keys = cut.all_keys;
  unit.late_merge = cut.late_merge;
  const int64_t part = index - cut.first_unit;
  const int64_t head_chunk = part % cut.head_chunks;
  const int64_t row_chunk = part / cut.head_chunks;
  const PlanTile& tile = tile_of(plan, unit.item);
  unit.kv_head_begin = tile.kv_head_begin + head_at(heads_of(tile), head_chunk, cut.head_chunks);
  unit.kv_head_end = tile.kv_head_begin + head_at(heads_of(tile), head_chunk + 1, cut.head_chunks);
  const int64_t tokens = tile.token_end - tile.token_begin;
  unit.token_begin = token_at(tokens, row_chunk, cut.row_chunks);
  unit.token_end = token_at(tokens, row_chunk + 1, cut.row_chunks);
  return unit;
}

MergePiece merge_piece_at(const PlanData& plan, const Schedule& schedule, int64_t index) noexcept {
  const LateMerge* after =
      std::upper_bound(schedule.merges, schedule.merges + schedule.num_merges, index,
                       [](int64_t i, const LateMerge& merge) { return i < merge.first_piece; });
  const LateMerge& merge = after[-1];
  const PlanTile& tile = plan.tiles[static_cast<size_t>(merge.tile)];
  const int64_t part = index - merge.first_piece;
  const auto token = static_cast<int32_t>(part / merge.head_chunks);
  const int64_t chunk = part % merge.head_chunks;
  const int32_t group = group_of(plan);
  const int32_t first = tile.kv_head_begin * group;
  const int32_t heads = heads_of(tile) * group;
  return {merge.tile, token, token + 1, first + head_at(heads, chunk, merge.head_chunks),
          first + head_at(heads, chunk + 1, merge.head_chunks)};
}

MergePiece merge_piece_of(const PlanData& plan, const Schedule& schedule, int32_t tile_index,
                          int32_t chunk) noexcept {
  const PlanTile& tile = plan.tiles[static_cast<size_t>(tile_index)];
  const auto first_head = [&](int64_t part) {
    const int32_t kv_head = head_at(heads_of(tile), part, schedule.merge_chunks);
    return (tile.kv_head_begin + kv_head) * group_of(plan);
  };
  return {tile_index, 0, tile.token_end - tile.token_begin, first_head(chunk),
          first_head(int64_t{chunk} + 1)};
}

KeyRange unit_keys(const PlanData& plan, const Unit& unit) noexcept {
  const PlanItem& item = plan.items[static_cast<size_t>(unit.item)];
  const PlanTile& tile = plan.tiles[static_cast<size_t>(item.tile)];
  const PlanSequence& seq = plan.sequences[static_cast<size_t>(tile.seq)];
  const int64_t first = int64_t{seq.q_start} + tile.token_begin + unit.token_begin;
  const int64_t last = int64_t{seq.q_start} + tile.token_begin + unit.token_end - 1;
  int64_t begin = tile.key_begin;
  int64_t end = tile.key_end;
  if (!unit.all_keys) {
    begin = std::max(begin, int64_t{item.split_begin} * kSplitKeys);
    end = std::min(end, int64_t{item.split_end} * kSplitKeys);
  }
  // Items meet in a merge that reads all their splits.
  if (!unit.all_keys)
    return {static_cast<int32_t>(begin), static_cast<int32_t>(std::max(begin, end))};
  if (plan.spec.window_left >= 0) begin = std::max(begin, first - plan.spec.window_left);
  if (plan.spec.window_right >= 0) end = std::min(end, last + plan.spec.window_right + 1);
  if (begin >= end) return {0, 0};
  return {static_cast<int32_t>(begin), static_cast<int32_t>(end)};
}

int64_t unit_cost(const PlanData& plan, const Unit& unit) noexcept {
  const KeyRange range = unit_keys(plan, unit);
  const int64_t keys = keys_within(plan, tile_of(plan, unit.item), range.begin, range.end);
  const int64_t rows = int64_t{unit.token_end - unit.token_begin} * rows_of_token(plan.spec);
  return (unit.kv_head_end - unit.kv_head_begin) * attend_cost(rows, keys);
}

MergeChunks merge_chunks_of(const PlanData& plan, const Schedule& schedule,
                            const Unit& unit) noexcept {
  const PlanTile& tile = tile_of(plan, unit.item);
  const int64_t heads = heads_of(tile);
  const auto chunk_at = [&](int32_t head) {
    return static_cast<int32_t>(
        div_up((head - tile.kv_head_begin) * int64_t{schedule.merge_chunks}, heads));
  };
  return {chunk_at(unit.kv_head_begin), chunk_at(unit.kv_head_end)};
}

}  // namespace attnrt::cpu
