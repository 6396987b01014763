// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/expr_slots.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace attnrt::cuda {

TEST_SUITE("slots of expressions on a device") {
  TEST_CASE("tables are copied without gaps, repeated dimensions once") {
    std::vector<int32_t> table(60);
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<int32_t>(i);
    std::vector<expr::BoundSlot> slots(3);
    slots[0] = {.kind = expr::SlotKind::kInt, .int_value = 7};
    slots[1] = {.kind = expr::SlotKind::kBuffer,
                .data = table.data(),
                .rank = 3,
                .shape = {2, 9, 3},
                .strides = {30, 0, 5}};
    slots[2] = {.kind = expr::SlotKind::kBuffer,
                .data = table.data(),
                .rank = 2,
                .shape = {4, 3},
                .strides = {7, 1}};
    std::vector<std::byte> bytes(table_bytes(slots));
    CHECK(bytes.size() == 32 + 48);
    write_tables(slots, bytes.data());
    std::vector<DeviceSlot> made(3);
    copied_slots(slots, bytes.data(), made.data());
    CHECK(made[0].int_value == 7);
    const auto at = [](const DeviceSlot& slot, int64_t a, int64_t b, int64_t c) {
      return static_cast<const int32_t*>(
          slot.data)[a * slot.strides[0] + b * slot.strides[1] + c * slot.strides[2]];
    };
    for (int64_t a = 0; a < 2; ++a) {
      for (int64_t b = 0; b < 9; ++b) {
        for (int64_t c = 0; c < 3; ++c) CHECK(at(made[1], a, b, c) == a * 30 + c * 5);
      }
    }
    for (int64_t a = 0; a < 4; ++a) {
      for (int64_t b = 0; b < 3; ++b) CHECK(at(made[2], a, b, 0) == a * 7 + b);
    }
  }
}

}  // namespace attnrt::cuda
