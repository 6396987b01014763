// SPDX-License-Identifier: Apache-2.0
// Where the parts of the workspace of a call lie.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "backends/cpu/attend_programs.hpp"
#include "backends/cpu/kernels/scratch.hpp"
#include "backends/cpu/schedule.hpp"

namespace attnrt::cpu {

/// Merge counters, schedule, unmerged states, scratch of each worker.
struct AttendWorkspace {
  size_t schedule, acc, ref, sum, scratch, scratch_each, total;
};

AttendWorkspace lay_out_attend(const PlanData& plan, int32_t workers) noexcept;

}  // namespace attnrt::cpu
