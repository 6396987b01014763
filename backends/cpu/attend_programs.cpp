// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/attend_programs.hpp"

#include <span>

#include "src/plan_extent.hpp"
#include "src/plan_mask.hpp"
#include "src/plan_score.hpp"

namespace attnrt::cpu {
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
