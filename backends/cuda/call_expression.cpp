// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/call_expression.hpp"

#include "backends/cuda/expr_slots.hpp"
#include "src/plan_extent.hpp"
#include "src/plan_mask.hpp"

namespace attnrt::cuda {
namespace {

SourceProgram source_program(const expr::TileProgram& program, std::span<const expr::Slot> slots,
                             std::span<const expr::BoundSlot> values, const PlanData& plan) {
  const expr::TileCode code = program.code();
  return {code, slots, expr::needs_int64(code, values, extent_of(plan))};
}

}  // namespace

CallExpression call_expression(const PlanData& plan, const BoundScore& score) noexcept {
  CallExpression made;
  if (plan.mask != nullptr) {
    made.mask = source_program(plan.mask->tile_program(), plan.mask->program().data()->slots,
                               plan.mask->bindings().slots, plan);
  }
  if (score.program != nullptr) {
    made.score = source_program(score.program->tile_program(),
                                score.program->program().data()->slots, score.slots, plan);
  }
  return made;
}

void call_slots(const PlanData& plan, const BoundScore& score, const DevicePlanLayout& layout,
                const std::byte* plan_memory, std::span<DeviceSlot> slots) noexcept {
  DeviceSlot* to = slots.data();
  if (plan.mask != nullptr) {
    const std::span<const expr::BoundSlot> bound = plan.mask->bindings().slots;
    copied_slots(bound, plan_memory + layout.tables, to);
    to += bound.size();
  }
  if (score.program != nullptr) device_slots(score.slots, to);
}

}  // namespace attnrt::cuda
