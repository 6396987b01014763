// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/attend_programs.hpp"

#include <algorithm>
#include <iterator>
#include <span>

#include "src/expr/lower_tile.hpp"
#include "src/plan_mask.hpp"
#include "src/plan_score.hpp"

namespace attnrt::cpu {
namespace {

expr::TileExtent extent_of(const PlanData& plan) {
  expr::TileExtent extent;
  extent.sequences = std::max<int64_t>(1, std::ssize(plan.sequences));
  extent.heads = plan.spec.num_heads_q;
  extent.kv_heads = plan.spec.num_heads_kv;
  bool first = true;
  for (const PlanSequence& seq : plan.sequences) {
    if (seq.q_len == 0) continue;
    const int64_t end = int64_t{seq.q_start} + seq.q_len;
    extent.q_begin = first ? seq.q_start : std::min<int64_t>(extent.q_begin, seq.q_start);
    extent.q_end = first ? end : std::max(extent.q_end, end);
    first = false;
    extent.kv_end = std::max<int64_t>(extent.kv_end, seq.kv_len);
    extent.max_q_len = std::max<int64_t>(extent.max_q_len, seq.q_len);
    extent.max_kv_len = std::max<int64_t>(extent.max_kv_len, seq.kv_len);
  }
  return extent;
}

}  // namespace

Programs::Programs(const PlanData& plan) {
  if (plan.mask != nullptr) mask_ = plan.mask->tile_program().code();
  if (plan.score != nullptr) score_ = plan.score->tile_program().code();
}

BoundPrograms bind_programs(const AttendCall& call, const Programs& programs) {
  BoundPrograms made;
  if (call.plan.mask == nullptr && call.score.program == nullptr) return made;
  const expr::TileExtent extent = extent_of(call.plan);
  const auto bound = [&](const expr::TileCode* code, std::span<const expr::BoundSlot> slots) {
    return expr::ExprCall{code, slots.data(), expr::needs_int64(*code, slots, extent)};
  };
  if (call.plan.mask != nullptr) {
    made.mask = bound(programs.mask(), call.plan.mask->bindings().slots);
  }
  if (call.score.program != nullptr) made.score = bound(programs.score(), call.score.slots);
  return made;
}

}  // namespace attnrt::cpu
