// SPDX-License-Identifier: Apache-2.0
#include "src/plan_items.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "src/plan_cost.hpp"

namespace attnrt {
namespace {

// A tile is cut along its keys only where cutting by KV heads and rows alone would leave a piece
// of more than this part of the whole, because unmerged results cost memory and a merge: 1% of
// the time of 4 rows, 3% of 256 and more. So with 128 threads a piece is at most a sixteenth of a
// thread's share for decode, and an eighth for tiles of more than kTallRows, of which a batch has
// enough others. A quarter would leave chunks of 512 tokens over 20k keys to be cut by rows, where
// keys that are read again are 20% of the cost.
constexpr double kPieces = 2048;
constexpr double kPiecesTall = 1024;
constexpr int64_t kTallRows = 32;

// The fewest rows to which a backend is expected to cut a tall tile.
constexpr int64_t kPieceRows = 16;

// A tile that is cut along its keys at all keeps a state for every split, however many items it
// has. So it is cut finely: no item is more than this part of the whole.
constexpr double kItems = 4096;
constexpr double kItemsTall = 2048;

// The merge of so many splits, or of a tall tile, takes as long as an item. Items of such a tile
// stand together, those with the longest merge first, so that other items are left to work on
// meanwhile.
constexpr int32_t kLongMergeSplits = 16;

// Partial results larger than this are not worth their memory.
constexpr int64_t kMaxPartialBytes = int64_t{256} << 20;

int64_t cost_of(const PlanData& plan, const PlanTile& tile, int32_t keys) {
  return attend_cost(tile_rows(plan, tile), keys);
}

int32_t items_of(const PlanData& plan, const PlanTile& tile, double total_cost) {
  if (tile.num_splits <= 1) return 1;
  const int64_t rows = tile_rows(plan, tile);
  const int32_t keys = tile.keys;
  const bool tall = rows > kTallRows;
  const int64_t piece = attend_cost(tall ? kPieceRows : rows, keys);
  if (static_cast<double>(piece) * (tall ? kPiecesTall : kPieces) <= total_cost) return 1;
  const double items =
      static_cast<double>(attend_cost(rows, keys)) * (tall ? kItemsTall : kItems) / total_cost;
  return static_cast<int32_t>(
      std::clamp<double>(std::ceil(items), 1.0, static_cast<double>(tile.num_splits)));
}

// (split, token) pairs of a tile whose states are kept.
int64_t partial_tokens_of(const PlanTile& tile) {
  return int64_t{tile.num_splits} * (tile.token_end - tile.token_begin);
}

// Where the states of all tiles that should be cut along their keys need too much memory, some
// tiles stay whole. A state is kept for every token and split: tiles of few tokens, which cannot be
// cut by rows instead, come first, among them the longest.
void fit_partials(PlanData& plan) {
  std::vector<PlanTile*> cut;
  for (PlanTile& tile : plan.tiles) {
    if (tile.num_items > 1) cut.push_back(&tile);
  }
  std::ranges::stable_sort(cut, [](const PlanTile* a, const PlanTile* b) {
    const int32_t tokens_a = a->token_end - a->token_begin;
    const int32_t tokens_b = b->token_end - b->token_begin;
    return tokens_a != tokens_b ? tokens_a < tokens_b : a->keys > b->keys;
  });
  plan.partial_tokens = 0;
  for (PlanTile* tile : cut) {
    plan.partial_tokens += partial_tokens_of(*tile);
    if (partial_bytes(plan) <= kMaxPartialBytes) continue;
    plan.partial_tokens -= partial_tokens_of(*tile);
    tile->num_items = 1;
  }
}

// Chooses the number of items of each tile, and where their partials stand.
void choose_items(PlanData& plan, double total_cost) {
  plan.partial_tokens = 0;
  for (PlanTile& tile : plan.tiles) {
    tile.num_items = items_of(plan, tile, total_cost);
    if (tile.num_items > 1) plan.partial_tokens += partial_tokens_of(tile);
  }
  if (partial_bytes(plan) > kMaxPartialBytes) fit_partials(plan);
  plan.partial_tokens = 0;
  plan.merge_groups = 0;
  for (PlanTile& tile : plan.tiles) {
    tile.merge_group = -1;
    if (tile.num_items <= 1) continue;
    tile.merge_group = plan.merge_groups++;
    tile.partial_token = plan.partial_tokens;
    plan.partial_tokens += partial_tokens_of(tile);
  }
}

void add_items_of(PlanData& plan, int32_t tile_index) {
  const PlanTile& tile = plan.tiles[static_cast<size_t>(tile_index)];
  const size_t first = plan.items.size();
  int64_t largest = 0;
  for (int32_t i = 0; i < tile.num_items; ++i) {
    const auto cut = [&](int32_t n) {
      return tile.first_split + static_cast<int32_t>(int64_t{tile.num_splits} * n / tile.num_items);
    };
    PlanItem item;
    item.tile = tile_index;
    item.split_begin = cut(i);
    item.split_end = cut(i + 1);
    const int32_t keys = keys_within(plan, tile, int64_t{item.split_begin} * kSplitKeys,
                                     int64_t{item.split_end} * kSplitKeys);
    item.cost = cost_of(plan, tile, keys);
    item.rank = item.cost;
    largest = std::max(largest, item.cost);
    plan.items.push_back(item);
  }
  const int64_t rows = tile_rows(plan, tile);
  if (tile.num_items == 1 || (tile.num_splits < kLongMergeSplits && rows <= kTallRows)) return;
  const int64_t rank = largest + merge_cost(rows, tile.num_splits);
  for (size_t i = first; i < plan.items.size(); ++i) plan.items[i].rank = rank;
}

}  // namespace

void plan_items(PlanData& plan) {
  double total_cost = 0.0;
  for (const PlanTile& tile : plan.tiles) {
    const double heads = heads_of(tile);
    total_cost += heads * static_cast<double>(cost_of(plan, tile, tile.keys));
  }
  choose_items(plan, total_cost);

  for (size_t t = 0; t < plan.tiles.size(); ++t) add_items_of(plan, static_cast<int32_t>(t));
  // Ties in key order, which is memory order.
  std::ranges::sort(plan.items, [](const PlanItem& a, const PlanItem& b) {
    if (a.rank != b.rank) return a.rank > b.rank;
    if (a.tile != b.tile) return a.tile < b.tile;
    return a.split_begin < b.split_begin;
  });
}

}  // namespace attnrt
