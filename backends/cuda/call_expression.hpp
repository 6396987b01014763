// SPDX-License-Identifier: Apache-2.0
// What a call asks of the attention kernels beyond closed forms: its mask and its score, how wide
// their integers have to be, and the values of their slots. Knows no CUDA.
#pragma once

#include <cstddef>
#include <span>

#include "backends/cuda/device_plan.hpp"
#include "backends/cuda/expr_source.hpp"
#include "src/backend.hpp"

namespace attnrt::cuda {

/// Borrows the plan and the score.
struct CallExpression {
  SourceProgram mask;
  SourceProgram score;

  [[nodiscard]] bool exists() const { return mask.exists() || score.exists(); }
  [[nodiscard]] size_t num_slots() const { return num_device_slots(mask, score); }
};

/// O(batch + steps).
CallExpression call_expression(const PlanData& plan, const BoundScore& score) noexcept;

/// Writes num_slots() slots, as a printed expression has them. `plan_memory` is what the device has
/// of the plan.
void call_slots(const PlanData& plan, const BoundScore& score, const DevicePlanLayout& layout,
                const std::byte* plan_memory, std::span<DeviceSlot> slots) noexcept;

}  // namespace attnrt::cuda
