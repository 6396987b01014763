// SPDX-License-Identifier: Apache-2.0
// Which kernel of a table computes a call. The executor and Runtime::explain ask here, so that they
// cannot differ.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "attnrt/runtime.hpp"
#include "backends/cpu/kernels/kernel_table.hpp"
#include "src/plan_data.hpp"

namespace attnrt::cpu {

/// What the choice looks at: the kind of layer and its tensors, never batch, row count or layout,
/// on which no result may depend.
struct CallKind {
  DType q = DType::kF32;
  DType kv = DType::kF32;
  bool rotates_q = false;  // AttendArgs::rotary_q
  Arithmetic arithmetic = Arithmetic::kFastest;
};

struct CallKernel {
  AttendKernel attend = nullptr;
  const char* products = "";  // what it multiplies with: "f32 FMA", or the table's bf16_dot_name
};

CallKernel choose_kernel(const KernelTable& table, const CallKind& call) noexcept;

/// Why, for people.
std::string choice_reason(const KernelTable& table, const CallKind& call);

/// One entry for each class of the plan's items and each dtype, q and cache alike. Errors: those of
/// resolve_table.
Status explain_plan(const PlanData& plan, std::string_view isa, std::vector<KernelChoice>& choices);

}  // namespace attnrt::cpu
