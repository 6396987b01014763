// SPDX-License-Identifier: Apache-2.0
// attend with the AMX kernels, on any machine that the trap makes able to.
#pragma once

#include <cstdint>
#include <string>

#include "backends/cpu/kernels/kernel_table.hpp"
#include "tests/support/problem.hpp"

namespace attnrt::test {

/// The table "amx" over the best one that it stands on; or, with `kernel`, the same with that one
/// in place of its own.
cpu::KernelTable amx_table(cpu::AttendKernel kernel = nullptr);

/// Whether this machine runs that table: by itself or under the trap, and with AVX512-BF16. Says so
/// if not.
bool amx_possible();

/// Plans, and attends with this table on so many threads: "ok" or the status' message. An AmxTrap
/// must be there.
std::string run_table(const cpu::KernelTable& table, const Problem& problem, Output& output,
                      int32_t num_threads = 1);

}  // namespace attnrt::test
