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
        k_(kv_, false),
        v_(kv_, true) {}

  // A row converted to f32, 16 rows of the cache's dtype, one of zeros.
  [[nodiscard]] int64_t scratch_floats() const {
    return (1 + kPacked16Keys + 1) * std::max(k_.columns, v_.columns);
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
        v_.clear(v_.group(slots[static_cast<size_t>(i)], head));
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

  void write_run(const Run& run, float* scratch) const {
    const AppendArgs& args = *task_.args;
    const RotaryView* rotary = args.rotary.cos != nullptr ? &args.rotary : nullptr;
    for (int64_t head = 0; head < kv_.num_heads_kv; ++head) {
      write_head(run, k_, args.k, rotary, head, scratch);
      write_head(run, v_, args.v, nullptr, head, scratch);
    }
  }

  void write_head(const Run& run, const Packed16Half& half, const ConstTensorView& src,
                  const RotaryView* rotary, int64_t head, float* scratch) const {
    const void* rows[kPacked16Keys];
    const int64_t row_bytes = half.columns * size_of(half.dtype);
    auto* stored = reinterpret_cast<std::byte*>(scratch + half.columns);
    const bool as_it_is = rotary == nullptr && src.dtype == half.dtype && half.dim == half.columns;
    for (int32_t i = 0; i < run.count; ++i) {
      const int64_t at = (run.first_token + i) * src.strides[0] + head * src.strides[1];
      const auto* from = static_cast<const std::byte*>(src.data) + at * size_of(src.dtype);
      rows[i] = as_it_is ? from : stored + i * row_bytes;
      if (as_it_is) continue;
      StoreTask store{};
      store.src = from;
      store.src_dtype = src.dtype;
      store.dst = stored + i * row_bytes;
      store.dst_dtype = half.dtype;
      store.heads = 1;
      store.dim = static_cast<int32_t>(half.dim);
      store.rotary = rotary;
      store.position = run.places[i].rotary_position;
      store.scratch = scratch;
      table_.store(store);
      const int64_t dim_bytes = half.dim * size_of(half.dtype);
      std::memset(stored + i * row_bytes + dim_bytes, 0,
                  static_cast<size_t>(row_bytes - dim_bytes));
    }
    GroupTask group{};
    group.dtype = half.dtype;
    group.is_v = half.is_v;
    group.columns = half.columns;
    group.v_keys = half.v_keys;
    group.rows = rows;
    group.first = static_cast<int32_t>(run.slot() % kPacked16Keys);
    group.count = run.count;
    group.group = half.group(run.slot(), head);
    if (run.opens() && !mapped_ && run.count < kPacked16Keys) {
      std::byte* zeros = stored + kPacked16Keys * row_bytes;
      std::memset(zeros, 0, static_cast<size_t>(row_bytes));
      std::fill(rows + run.count, rows + kPacked16Keys, zeros);
      group.count = kPacked16Keys;
    }
    table_.pack_group(group);
  }

  const KernelTable& table_;
  const AppendTask& task_;
  const KvView& kv_;
  bool mapped_;
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
