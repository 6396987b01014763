// SPDX-License-Identifier: Apache-2.0
// The value of a slot as machines read it. Plain data: kernels of every ISA include it.
#pragma once

#include <array>
#include <cstdint>

#include "attnrt/expr.hpp"

namespace attnrt::expr {

/// A slot with its value, checked against the program.
struct BoundSlot {
  SlotKind kind = SlotKind::kInt;
  ElementType element = ElementType::kI32;
  int64_t int_value = 0;
  float float_value = 0.0f;
  const void* data = nullptr;
  int32_t rank = 0;
  std::array<int64_t, 4> shape{};    // each >= 1 up to rank
  std::array<int64_t, 4> strides{};  // elements
};

}  // namespace attnrt::expr
