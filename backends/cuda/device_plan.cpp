// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device_plan.hpp"

#include <algorithm>
#include <cstring>

#include "backends/cuda/device_runs.hpp"
#include "backends/cuda/expr_slots.hpp"
#include "src/plan_mask.hpp"

namespace attnrt::cuda {
namespace {

constexpr size_t kAlign = 16;

// Reserves room for `count` elements and returns where it begins.
template <class T>
size_t reserve(size_t count, size_t& total) {
  const size_t begin = total;
  total = (begin + count * sizeof(T) + kAlign - 1) / kAlign * kAlign;
  return begin;
}

int64_t pages_of(const PlanData& plan, const PlanSequence& seq) {
  if (plan.page_size == 0 || seq.kv_len == 0) return 0;
  return (seq.first_slot + seq.kv_len + plan.page_size - 1) / plan.page_size;
}

int32_t rows_of(const PlanData& plan, const PlanTile& tile) {
  return (tile.token_end - tile.token_begin) * (plan.spec.num_heads_q / plan.spec.num_heads_kv);
}

int32_t height_of(const PlanData& plan, const PlanTile& tile) {
  // Reading keys twice, the second time from cache, costs less than a tall block of idle warps.
  if (rows_of(plan, tile) <= 2 * kShortRows) return kShortRows;
  return tall_rows(padded_dim(plan.spec.head_dim, plan.spec.head_dim_v));
}

DeviceUnit unit_of(const PlanTile& tile, const PlanItem& item) {
  DeviceUnit unit{};
  unit.seq = tile.seq;
  unit.token_begin = tile.token_begin;
  unit.split_begin = item.split_begin;
  unit.split_end = item.split_end;
  const int64_t split_end = int64_t{item.split_end} * kSplitKeys;
  unit.key_begin = std::max(tile.key_begin, item.split_begin * kSplitKeys);
  unit.key_end = static_cast<int32_t>(std::min<int64_t>(tile.key_end, split_end));
  unit.stores_states = tile.num_items > 1;
  unit.state_stride = tile.token_end - tile.token_begin;
  // Of split 0, which the tile may not have: all others lie where they are.
  unit.state_token = tile.partial_token - int64_t{tile.first_split} * unit.state_stride;
  unit.kv_head_begin = tile.kv_head_begin;
  return unit;
}

/// Places in the list of all runs.
struct RunRange {
  int32_t begin;
  int32_t end;
};

// A list that is being written.
template <class T>
class List {
 public:
  List(std::span<std::byte> bytes, size_t begin) : next_(bytes.data() + begin) {}
  void push(const T& value) {
    std::memcpy(next_, &value, sizeof value);
    next_ += sizeof value;
  }

 private:
  std::byte* next_;
};

// Where the runs of each tile stand.
std::vector<RunRange> write_runs(const PlanData& plan, const DevicePlanLayout& layout,
                                 std::span<std::byte> bytes) {
  List<DeviceRun> runs(bytes, layout.runs);
  std::vector<RunRange> ranges;
  int32_t count = 0;
  for (const PlanTile& tile : plan.tiles) {
    const int32_t begin = count;
    device_runs(plan, tile, [&](const DeviceRun& run) {
      runs.push(run);
      ++count;
    });
    ranges.push_back({begin, count});
  }
  return ranges;
}

}  // namespace

int32_t padded_dim(int32_t head_dim, int32_t head_dim_v) noexcept {
  const int32_t dim = std::max(head_dim, head_dim_v);
  for (const int32_t padded : {64, 128, 192, 256}) {
    if (dim <= padded) return padded;
  }
  return 0;
}

DevicePlanLayout lay_out(const PlanData& plan) noexcept {
  DevicePlanLayout layout;
  for (const PlanItem& item : plan.items) {
    const PlanTile& tile = plan.tiles[static_cast<size_t>(item.tile)];
    const int32_t height = height_of(plan, tile);
    const auto units = static_cast<uint32_t>((rows_of(plan, tile) + height - 1) / height);
    (height == kShortRows ? layout.num_short : layout.num_tall) += units;
  }
  for (const PlanTile& tile : plan.tiles) {
    if (tile.num_items <= 1) continue;
    ++layout.num_merges;
    layout.merge_tokens = std::max(layout.merge_tokens, tile.token_end - tile.token_begin);
  }
  int64_t pages = 0;
  for (const PlanSequence& seq : plan.sequences) pages += pages_of(plan, seq);
  layout.sequences = reserve<DeviceSequence>(plan.sequences.size(), layout.total);
  layout.short_units = reserve<DeviceUnit>(layout.num_short, layout.total);
  layout.tall_units = reserve<DeviceUnit>(layout.num_tall, layout.total);
  layout.merges = reserve<DeviceMerge>(layout.num_merges, layout.total);
  layout.pages = reserve<int32_t>(static_cast<size_t>(pages), layout.total);
  layout.unit_heads = static_cast<uint32_t>(plan.spec.num_heads_kv);
  if (plan.mask == nullptr) return layout;
  // Tiles are all for all heads, or all for one.
  if (!plan.tiles.empty()) {
    layout.unit_heads = static_cast<uint32_t>(heads_of(plan.tiles.front()));
  }
  size_t runs = 0;
  for (const PlanTile& tile : plan.tiles) {
    device_runs(plan, tile, [&](const DeviceRun&) { ++runs; });
  }
  layout.runs = reserve<DeviceRun>(runs, layout.total);
  layout.tables = reserve<std::byte>(table_bytes(plan.mask->bindings().slots), layout.total);
  return layout;
}

void write_device_plan(const PlanData& plan, const DevicePlanLayout& layout,
                       std::span<std::byte> bytes) noexcept {
  List<DeviceSequence> sequences(bytes, layout.sequences);
  int64_t first_page = 0;
  for (const PlanSequence& seq : plan.sequences) {
    const int64_t pages = pages_of(plan, seq);
    sequences.push({seq.q_begin, seq.kv_len, seq.q_start, static_cast<int32_t>(first_page),
                    seq.first_slot, seq.q_len, 0});
    if (pages > 0) {
      std::memcpy(bytes.data() + layout.pages + static_cast<size_t>(first_page) * 4, seq.pages,
                  static_cast<size_t>(pages) * 4);
    }
    first_page += pages;
  }
  std::vector<RunRange> runs_of_tiles;
  if (plan.mask != nullptr) {
    runs_of_tiles = write_runs(plan, layout, bytes);
    write_tables(plan.mask->bindings().slots, bytes.data() + layout.tables);
  }
  List<DeviceUnit> short_units(bytes, layout.short_units);
  List<DeviceUnit> tall_units(bytes, layout.tall_units);
  for (const PlanItem& item : plan.items) {
    const PlanTile& tile = plan.tiles[static_cast<size_t>(item.tile)];
    const int32_t height = height_of(plan, tile);
    const int32_t rows = rows_of(plan, tile);
    DeviceUnit unit = unit_of(tile, item);
    if (plan.mask != nullptr) {
      const RunRange& runs = runs_of_tiles[static_cast<size_t>(item.tile)];
      unit.run_begin = runs.begin;
      unit.run_end = runs.end;
    }
    for (unit.row_begin = 0; unit.row_begin < rows; unit.row_begin += height) {
      unit.row_end = std::min(rows, unit.row_begin + height);
      (height == kShortRows ? short_units : tall_units).push(unit);
    }
  }
  List<DeviceMerge> merges(bytes, layout.merges);
  for (const PlanTile& tile : plan.tiles) {
    if (tile.num_items <= 1) continue;
    const PlanSequence& seq = plan.sequences[static_cast<size_t>(tile.seq)];
    const int32_t group = plan.spec.num_heads_q / plan.spec.num_heads_kv;
    merges.push({seq.q_begin + tile.token_begin, tile.token_end - tile.token_begin, tile.num_splits,
                 tile.kv_head_begin * group, tile.partial_token, tile.kv_head_end * group, 0});
  }
}

}  // namespace attnrt::cuda
