// SPDX-License-Identifier: Apache-2.0
// Row intervals of a planned mask.
#include <algorithm>
#include <vector>

#include "attnrt/mask_formats.hpp"
#include "src/context.hpp"
#include "src/expr/evaluate.hpp"
#include "src/plan_mask.hpp"
#include "src/refuse.hpp"
#include "src/visible_range.hpp"

namespace attnrt::expr {
namespace {

// Adds keys [begin, end) to the last row. Intervals come in order; those that touch are one.
void add_interval(RowIntervals& out, int32_t begin, int32_t end) {
  if (begin >= end) return;
  const bool first = std::ssize(out.intervals) == out.row_begin.back();
  if (!first && out.intervals.back().end == begin) {
    out.intervals.back().end = end;
  } else {
    out.intervals.push_back({begin, end});
  }
}

class Exporter {
 public:
  Exporter(const PlanData& plan, int32_t seq, int32_t head)
      : plan_(plan),
        seq_(plan.sequences[static_cast<size_t>(seq)]),
        kv_head_(head / (plan.spec.num_heads_q / plan.spec.num_heads_kv)),
        point_{.b = seq, .h = head, .hkv = kv_head_, .q_len = seq_.q_len, .kv_len = seq_.kv_len} {}

  Status run(RowIntervals& out) {
    if (plan_.mask != nullptr) {
      const Expr& source = plan_.mask->program().data()->source;
      Status status = Evaluator::create(source, slot_values(*plan_.mask), mask_);
      if (!status.ok()) return status;
    }
    for (const PlanTile& tile : plan_.tiles) {
      const bool here =
          tile.seq == point_.b && tile.kv_head_begin <= kv_head_ && kv_head_ < tile.kv_head_end;
      for (int32_t token = tile.token_begin; here && token < tile.token_end; ++token) {
        add_row(tile, token, out);
        out.row_begin.push_back(std::ssize(out.intervals));
      }
    }
    return {};
  }

 private:
  void add_row(const PlanTile& tile, int32_t token, RowIntervals& out) {
    point_.q = int64_t{seq_.q_start} + token;
    const KeyRange keys =
        visible_keys(point_.q, seq_.kv_len, plan_.spec.window_left, plan_.spec.window_right);
    if (plan_.mask == nullptr) return add_interval(out, keys.begin, keys.end);
    for (const MaskRun& run : plan_.runs_of(tile)) {
      const int32_t begin = std::max(run.key_begin, keys.begin);
      const int32_t end = std::min(run.key_end, keys.end);
      if (run.undecided == 0) {
        add_interval(out, begin, end);
        continue;
      }
      for (int32_t key = begin; key < end; ++key) {
        point_.kv = key;
        if (mask_.predicate(point_)) add_interval(out, key, key + 1);
      }
    }
  }

  const PlanData& plan_;
  const PlanSequence& seq_;
  const int32_t kv_head_;
  Point point_;
  Evaluator mask_;
};

}  // namespace

Status export_row_intervals(const Plan& plan, int32_t seq, int32_t head, RowIntervals& out) {
  return guarded([&]() -> Status {
    if (!plan.valid()) return refuse("plan is empty, make_plan fills it");
    const PlanData& data = *plan.data();
    if (seq < 0 || seq >= plan.batch_size()) {
      return refuse("seq is ", seq, ", the plan has ", plan.batch_size(), " sequences");
    }
    if (head < 0 || head >= data.spec.num_heads_q) {
      return refuse("head is ", head, ", the plan has ", data.spec.num_heads_q, " query heads");
    }
    RowIntervals made;
    Status status = Exporter(data, seq, head).run(made);
    if (status.ok()) out = std::move(made);
    return status;
  });
}

}  // namespace attnrt::expr
