// SPDX-License-Identifier: Apache-2.0
// Slots of expressions as device code reads them.
#pragma once

#include <cstddef>
#include <span>

#include "backends/cuda/kernels/params.hpp"
#include "src/expr/bound_slot.hpp"

namespace attnrt::cuda {

/// Of the tables of `slots`, copied without gaps, each aligned to 16 bytes.
size_t table_bytes(std::span<const expr::BoundSlot> slots) noexcept;

/// Copies them to `to`, which has table_bytes bytes.
void write_tables(std::span<const expr::BoundSlot> slots, std::byte* to) noexcept;

/// Slots whose tables write_tables has copied, to where the device finds them at `tables`.
void copied_slots(std::span<const expr::BoundSlot> slots, const std::byte* tables,
                  DeviceSlot* to) noexcept;

/// Slots whose tables are device memory already.
void device_slots(std::span<const expr::BoundSlot> slots, DeviceSlot* to) noexcept;

}  // namespace attnrt::cuda
