// SPDX-License-Identifier: Apache-2.0
#include "tests/support/amx_call.hpp"

#include <memory>
#include <vector>

#include "backends/cpu/attend_run.hpp"
#include "backends/cpu/cpu_features.hpp"
#include "backends/cpu/dispatch.hpp"
#include "tests/support/amx_trap.hpp"
#include "tests/support/skip.hpp"

namespace attnrt::test {

cpu::KernelTable amx_table(cpu::AttendKernel kernel) {
  const cpu::KernelTable* below = nullptr;
  REQUIRE(cpu::resolve_table("avx512", below).ok());
  cpu::KernelTable table = *below;
  table.name = "amx";
#if defined(__x86_64__)
  table.attend_bf16_dot = kernel != nullptr ? kernel : cpu::kAmxKernels.attend_bf16_dot;
#else
  table.attend_bf16_dot = kernel;
#endif
  return table;
}

bool amx_possible() {
#if defined(__x86_64__)
  const uint32_t trapped = cpu::kFeatureAmxTile | cpu::kFeatureAmxBf16;
  const std::string missing =
      cpu::missing_features(cpu::kAmxKernels.needs & ~trapped, cpu::cpu_features());
  if (missing.empty() && AmxTrap::possible()) return true;
  skip(missing.empty() ? "tile instructions cannot be trapped here" : missing);
#endif
  return false;
}

std::string run_table(const cpu::KernelTable& table, const Problem& problem, Output& output,
                      int32_t num_threads) {
  Plan plan;
  const Status planned = make_plan(problem.spec(), problem.batch(), plan);
  if (!planned.ok()) return planned.message();
  cpu::WorkerTeam team(num_threads);
  const size_t bytes = cpu::attend_workspace_bytes(*plan.data(), team.size());
  std::vector<std::byte> memory(bytes + 64);
  void* workspace = memory.data();
  size_t room = memory.size();
  std::align(64, bytes, workspace, room);
  const AttendArgs args = problem.args(output);
  ScoreStorage storage;
  BoundScore score;
  if (Status bound = bind_score(*plan.data(), args, storage, score); !bound.ok()) {
    return bound.message();
  }
  const Status status = cpu::run_attend(table, team, {*plan.data(), args, score},
                                        {static_cast<std::byte*>(workspace), bytes});
  return status.ok() ? "ok" : status.message();
}

}  // namespace attnrt::test
