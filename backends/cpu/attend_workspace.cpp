// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/attend_workspace.hpp"

namespace attnrt::cpu {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t aligned(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

}  // namespace

AttendWorkspace lay_out_attend(const PlanData& plan, int32_t workers) noexcept {
  const AttentionSpec& spec = plan.spec;
  const int64_t tokens = keeps_partials(plan, workers) ? plan.partial_tokens : 0;
  const auto states = static_cast<size_t>(tokens * spec.num_heads_q * spec.num_branches);
  const int32_t rows = plan.max_tile_tokens * rows_of_token(spec);
  AttendWorkspace layout;
  layout.schedule = aligned(static_cast<size_t>(plan.merge_groups) *
                            static_cast<size_t>(spec.num_heads_kv) * sizeof(std::atomic<int32_t>));
  layout.acc = layout.schedule + aligned(schedule_bytes(plan));
  layout.ref = layout.acc + aligned(states * static_cast<size_t>(spec.head_dim_v) * sizeof(float));
  layout.sum = layout.ref + aligned(states * sizeof(float));
  layout.scratch = layout.sum + aligned(states * sizeof(float));
  const Programs programs(plan);
  layout.scratch_each = aligned(attend_scratch_bytes(rows, spec.head_dim, spec.head_dim_v,
                                                     programs.mask(), programs.score()));
  layout.total = layout.scratch + layout.scratch_each * static_cast<size_t>(workers);
  return layout;
}

}  // namespace attnrt::cpu
