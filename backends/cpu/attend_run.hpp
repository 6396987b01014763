// SPDX-License-Identifier: Apache-2.0
// One call of attend on the CPU: plan items on the workers of a context.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backends/cpu/kernels/kernel_table.hpp"
#include "backends/cpu/panel_source.hpp"
#include "backends/cpu/parallel.hpp"
#include "src/backend.hpp"

namespace attnrt::cpu {

/// What run_attend needs for so many workers: merge counters, unmerged states, scratch of each.
size_t attend_workspace_bytes(const PlanData& plan, int32_t workers) noexcept;

/// Arguments are checked; workspace is 64-byte aligned and large enough for team.size() workers.
/// `panels` comes from table.make_panels, where that is set.
Status run_attend(const KernelTable& table, WorkerTeam& team, const AttendCall& call,
                  std::span<std::byte> workspace, PanelSource* panels = nullptr);

}  // namespace attnrt::cpu
