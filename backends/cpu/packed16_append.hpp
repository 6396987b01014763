// SPDX-License-Identifier: Apache-2.0
// Appending to packed16 caches, 16 keys at a time.
#pragma once

#include "backends/cpu/kernels/kernel_table.hpp"
#include "backends/cpu/units.hpp"
#include "src/backend.hpp"

namespace attnrt::cpu {

/// Writes the new keys and their padding; a group whose first slot is among them becomes zeros
/// where no new key stands, whatever the order of slots.
void append_packed16(const KernelTable& table, UnitRunner& runner, const AppendTask& task);

}  // namespace attnrt::cpu
