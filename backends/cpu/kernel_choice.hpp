// SPDX-License-Identifier: Apache-2.0
// Which kernels compute a plan's items and why, for people. The rule itself is uses_bf16_dot() of
// dispatch.hpp, which the executor asks, too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "attnrt/runtime.hpp"
#include "backends/cpu/kernels/kernel_table.hpp"
#include "src/plan_data.hpp"

namespace attnrt::cpu {

/// Why calls with q and a cache of `dtype` multiply as they do on a (resolved) table.
std::string choice_reason(const KernelTable& table, Arithmetic arithmetic, DType dtype);

/// One entry for each class of the plan's items and each dtype, q and cache alike. Errors: those of
/// resolve_table.
Status explain_plan(const PlanData& plan, std::string_view isa, std::vector<KernelChoice>& choices);

}  // namespace attnrt::cpu
