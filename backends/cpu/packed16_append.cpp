// SPDX-License-Identifier: Apache-2.0
// Units of work are runs: new tokens in consecutive slots of one group. So no two workers open or
// fill the same group, unless slot_mapping scatters its slots over the list.
#include "backends/cpu/packed16_append.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "backends/cpu/packed16_place.hpp"

namespace attnrt::cpu {
namespace {

constexpr int64_t kTokensPerUnit = 16;

// Rows are converted for this many heads at a time: whole rows are read as they lie in memory, and
// 16 of them stay in L2.
constexpr int64_t kHeadsAtOnce = 8;

struct Run {
  int64_t first_token = 0;
  int32_t count = 0;
  AppendPlace places[kPacked16Keys];

  [[nodiscard]] int64_t slot() const { return places[0].slot; }
  [[nodiscard]] bool opens() const { return slot() % kPacked16Keys == 0; }
};

bool continues(int64_t before, int64_t slot) {
  return before >= 0 && slot == before + 1 && slot % kPacked16Keys != 0;
}

class Append {
 public:
  Append(const KernelTable& table, const AppendTask& task)
      : table_(table),
        task_(task),
        kv_(task.args->kv),
        mapped_(!task.args->slot_mapping.empty()),
        values_(appends_values(*task.args)),
        k_(kv_, false),
        v_(kv_, true) {}

  // A row converted to f32, one of zeros, and 16 of the cache's dtype with kHeadsAtOnce heads.
  [[nodiscard]] int64_t scratch_floats() const {
    const int64_t columns = std::max(k_.columns, v_.columns);
    return 2 * columns + kPacked16Keys * stored_row_bytes(columns, 4) / 4;
  }

  // Slots of slot_mapping come in any order, so groups that a short run opens are cleared before
  // any key is written. Tokens of sequences come in order: a run clears as it writes.
  void open_groups(UnitRunner& runner) const {
    if (!mapped_) return;
    std::vector<int64_t> slots;
    for (int64_t token = 0; token < task_.total_new;) {
      const Run run = run_at(token);
      if (run.slot() >= 0 && run.opens() && run.count < kPacked16Keys) slots.push_back(run.slot());
      token += run.count;
    }
    runner.for_each_unit(std::ssize(slots), 0, [&](int64_t i, float*) {
      for (int64_t head = 0; head < kv_.num_heads_kv; ++head) {
        k_.clear(k_.group(slots[static_cast<size_t>(i)], head));
        if (values_) v_.clear(v_.group(slots[static_cast<size_t>(i)], head));
      }
    });
  }

  // The runs that begin in this unit's tokens; the last may end in the next unit's.
  void write_unit(int64_t unit, float* scratch) const {
    int64_t token = unit * kTokensPerUnit;
    const int64_t end = std::min(token + kTokensPerUnit, task_.total_new);
    if (token > 0) {
      int64_t before = slot_of(token - 1);
      for (int64_t slot; token < end && continues(before, slot = slot_of(token)); ++token) {
        before = slot;
      }
    }
    while (token < end) {
      const Run run = run_at(token);
      if (run.slot() >= 0) write_run(run, scratch);
      token += run.count;
    }
  }

 private:
  [[nodiscard]] int64_t slot_of(int64_t token) const { return task_.place(task_, token).slot; }

  [[nodiscard]] Run run_at(int64_t token) const {
    Run run;
    run.first_token = token;
    run.places[run.count++] = task_.place(task_, token);
    while (token + run.count < task_.total_new) {
      const AppendPlace place = task_.place(task_, token + run.count);
      if (!continues(run.places[run.count - 1].slot, place.slot)) break;
      run.places[run.count++] = place;
    }
    return run;
  }

  // A line more than the row, so that 16 rows do not share the ways of a cache.
  static int64_t stored_row_bytes(int64_t columns, int64_t element) {
    return kHeadsAtOnce * columns * element + 64;
  }

  void write_run(const Run& run, float* scratch) const {
    const AppendArgs& args = *task_.args;
    const RotaryView* rotary = args.rotary.cos != nullptr ? &args.rotary : nullptr;
    for (int64_t head = 0; head < kv_.num_heads_kv; head += kHeadsAtOnce) {
      const int64_t end = std::min<int64_t>(head + kHeadsAtOnce, kv_.num_heads_kv);
      write_heads({run, k_, args.k, rotary, scratch}, head, end);
      if (values_) write_heads({run, v_, args.v, nullptr, scratch}, head, end);
    }
  }

  // K or V of a run.
  struct Side {
    const Run& run;
    const Packed16Half& half;
    const ConstTensorView& src;
    const RotaryView* rotary;
    float* scratch;
  };

  void write_heads(const Side& side, int64_t begin, int64_t end) const {
    const Packed16Half& half = side.half;
    const int64_t element = size_of(half.dtype);
    auto* zeros = reinterpret_cast<std::byte*>(side.scratch + half.columns);
    std::memset(zeros, 0, static_cast<size_t>(half.columns * element));
    std::byte* stored = zeros + half.columns * 4;
    const bool as_it_is =
        side.rotary == nullptr && side.src.dtype == half.dtype && half.dim == half.columns;
    if (!as_it_is) convert_rows(side, begin, end, stored);
    for (int64_t head = begin; head < end; ++head) {
      if (as_it_is && head + 1 < end) fetch_rows(side, head + 1);
      const void* rows[kPacked16Keys];
      for (int32_t i = 0; i < side.run.count; ++i) {
        rows[i] = as_it_is ? source_row(side, i, head)
                           : stored + i * stored_row_bytes(half.columns, element) +
                                 (head - begin) * half.columns * element;
      }
      std::fill(rows + side.run.count, rows + kPacked16Keys, zeros);
      pack(side, head, rows);
    }
  }

  static const std::byte* source_row(const Side& side, int32_t i, int64_t head) {
    const ConstTensorView& src = side.src;
    const int64_t at = (side.run.first_token + i) * src.strides[0] + head * src.strides[1];
    return static_cast<const std::byte*>(src.data) + at * size_of(src.dtype);
  }

  // Pieces of 16 rows far apart are nothing that a hardware prefetcher follows.
  static void fetch_rows(const Side& side, int64_t head) {
    const int64_t bytes = side.half.columns * size_of(side.half.dtype);
    for (int32_t i = 0; i < side.run.count; ++i) {
      const std::byte* row = source_row(side, i, head);
      for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at);
    }
  }

  void convert_rows(const Side& side, int64_t begin, int64_t end, std::byte* stored) const {
    const Packed16Half& half = side.half;
    const int64_t element = size_of(half.dtype);
    const auto padding = static_cast<size_t>((half.columns - half.dim) * element);
    for (int32_t i = 0; i < side.run.count; ++i) {
      std::byte* row = stored + i * stored_row_bytes(half.columns, element);
      StoreTask store{};
      store.src = source_row(side, i, begin);
      store.src_dtype = side.src.dtype;
      store.src_head_stride = side.src.strides[1];
      store.dst = row;
      store.dst_dtype = half.dtype;
      store.dst_head_stride = half.columns;
      store.heads = static_cast<int32_t>(end - begin);
      store.dim = static_cast<int32_t>(half.dim);
      store.rotary = side.rotary;
      store.position = side.run.places[i].rotary_position;
      store.scratch = side.scratch;
      table_.store(store);
      for (int64_t head = begin; head < end && padding > 0; ++head, row += half.columns * element) {
        std::memset(row + half.dim * element, 0, padding);
      }
    }
  }

  void pack(const Side& side, int64_t head, const void* const* rows) const {
    GroupTask group{};
    group.dtype = side.half.dtype;
    group.is_v = side.half.is_v;
    group.columns = side.half.columns;
    group.v_keys = side.half.v_keys;
    group.rows = rows;
    group.first = static_cast<int32_t>(side.run.slot() % kPacked16Keys);
    group.count = side.run.opens() && !mapped_ ? kPacked16Keys : side.run.count;
    group.group = side.half.group(side.run.slot(), head);
    table_.pack_group(group);
  }

  const KernelTable& table_;
  const AppendTask& task_;
  const KvView& kv_;
  bool mapped_;
  bool values_;
  Packed16Half k_, v_;
};

}  // namespace

void append_packed16(const KernelTable& table, UnitRunner& runner, const AppendTask& task) {
  const Append append(table, task);
  append.open_groups(runner);
  const int64_t units = (task.total_new + kTokensPerUnit - 1) / kTokensPerUnit;
  runner.for_each_unit(units, append.scratch_floats(),
                       [&](int64_t unit, float* scratch) { append.write_unit(unit, scratch); });
}

}  // namespace attnrt::cpu
