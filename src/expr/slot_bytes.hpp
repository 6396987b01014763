// SPDX-License-Identifier: Apache-2.0
// How much memory the tables of slots take.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attnrt/expr.hpp"

namespace attnrt::expr {

constexpr size_t element_bytes(ElementType element) noexcept {
  switch (element) {
    case ElementType::kI8:
    case ElementType::kBool:
      return 1;
    case ElementType::kBF16:
      return 2;
    default:
      return 4;
  }
}

/// Of a buffer, from its first element to the last one that indices reach; 0 of a number.
inline size_t table_bytes(const SlotValue& value) noexcept {
  if (value.kind != SlotKind::kBuffer) return 0;
  int64_t last = 0;
  for (size_t i = 0; i < static_cast<size_t>(value.rank); ++i) {
    last += (value.shape[i] - 1) * value.strides[i];
  }
  return static_cast<size_t>(last + 1) * element_bytes(value.element);
}

}  // namespace attnrt::expr
