// SPDX-License-Identifier: Apache-2.0
// Copying a cache into another layout.
#pragma once

#include "backends/cpu/kernels/kernel_table.hpp"
#include "backends/cpu/units.hpp"

namespace attnrt::cpu {

/// Every slot of every page of `from`, bit for bit. The views agree in everything but layout and
/// strides, and do not overlap.
void convert(const KernelTable& table, UnitRunner& runner, const KvView& from, const KvView& to);

}  // namespace attnrt::cpu
