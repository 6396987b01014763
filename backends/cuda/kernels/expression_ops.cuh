// SPDX-License-Identifier: Apache-2.0
// The operations of expressions, for the source that expr_source.hpp prints. Int is int64_t, or
// int32_t where that is proved to hold every number that counts: what wraps there is of rows or
// keys that nobody sees.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/expression.cuh"
#include "backends/cuda/kernels/params.hpp"

namespace attnrt::cuda {

template <class Int>
struct UnsignedOf {
  using Type = uint32_t;
};
template <>
struct UnsignedOf<int64_t> {
  using Type = uint64_t;
};
template <class Int>
using Unsigned = typename UnsignedOf<Int>::Type;

template <class Int>
ATTNRT_DEVICE Int int_add(Int x, Int y) {
  return static_cast<Int>(static_cast<Unsigned<Int>>(x) + static_cast<Unsigned<Int>>(y));
}
template <class Int>
ATTNRT_DEVICE Int int_sub(Int x, Int y) {
  return static_cast<Int>(static_cast<Unsigned<Int>>(x) - static_cast<Unsigned<Int>>(y));
}
template <class Int>
ATTNRT_DEVICE Int int_mul(Int x, Int y) {
  return static_cast<Int>(static_cast<Unsigned<Int>>(x) * static_cast<Unsigned<Int>>(y));
}
template <class Int>
ATTNRT_DEVICE Int int_neg(Int x) {
  return int_sub(Int{0}, x);
}
template <class Int>
ATTNRT_DEVICE Int int_abs(Int x) {
  return x < 0 ? int_neg(x) : x;
}
template <class Int>
ATTNRT_DEVICE Int int_min(Int x, Int y) {
  return x < y ? x : y;
}
template <class Int>
ATTNRT_DEVICE Int int_max(Int x, Int y) {
  return x > y ? x : y;
}
/// Towards minus infinity; 0 where y is.
template <class Int>
ATTNRT_DEVICE Int floor_divide(Int x, Int y) {
  if (y == 0) return 0;
  if (y == -1) return int_neg(x);
  const Int whole = x / y;
  return x % y != 0 && (x < 0) != (y < 0) ? whole - 1 : whole;
}
template <class Int>
ATTNRT_DEVICE Int floor_modulo(Int x, Int y) {
  if (y == 0 || y == -1) return 0;
  const Int rest = x % y;
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}
template <class Int>
ATTNRT_DEVICE Int shift_left(Int x, Int count) {
  constexpr Int kBits = 8 * static_cast<Int>(sizeof(Int));
  if (count < 0 || count >= kBits) return 0;
  return static_cast<Int>(static_cast<Unsigned<Int>>(x) << count);
}
template <class Int>
ATTNRT_DEVICE Int shift_right(Int x, Int count) {
  constexpr Int kBits = 8 * static_cast<Int>(sizeof(Int));
  return x >> (count < 0 || count >= kBits ? kBits - 1 : count);
}

ATTNRT_DEVICE float float_sub(float x, float y) { return device::add(x, -y); }
ATTNRT_DEVICE float float_min(float x, float y) { return x < y ? x : y; }
ATTNRT_DEVICE float float_max(float x, float y) { return x > y ? x : y; }
ATTNRT_DEVICE float sigmoid(float x) {
  return device::divide(1.0f, device::add(1.0f, device::exponential(-x)));
}
ATTNRT_DEVICE float reciprocal_root(float x) {
  return device::divide(1.0f, device::square_root(x));
}

/// Elements of tables, as they are stored; the names are those of expr::ElementType.
struct ElementI32 {
  using Stored = int32_t;
  static ATTNRT_DEVICE int32_t value(int32_t x) { return x; }
};
struct ElementI8 {
  using Stored = int8_t;
  static ATTNRT_DEVICE int32_t value(int8_t x) { return x; }
};
struct ElementBool {
  using Stored = uint8_t;
  static ATTNRT_DEVICE bool value(uint8_t x) { return x != 0; }
};
struct ElementF32 {
  using Stored = float;
  static ATTNRT_DEVICE float value(float x) { return x; }
};
struct ElementBF16 {
  using Stored = uint16_t;
  static ATTNRT_DEVICE float value(uint16_t x) { return device::unpack_low<BFloat16>(x); }
};

/// Indices beyond the table are moved to its ends.
ATTNRT_DEVICE int64_t clamped_offset(const DeviceSlot& slot, int dimension, int64_t index) {
  const int64_t last = slot.shape[dimension] - 1;
  const int64_t inside = index < 0 ? 0 : index > last ? last : index;
  return inside * slot.strides[dimension];
}

/// The index base + kv or base - kv; as int64, in which it may wrap.
ATTNRT_DEVICE int64_t index_along(int64_t base, int64_t kv, bool descending) {
  return descending ? int_sub(base, kv) : int_add(base, kv);
}

template <class Element>
ATTNRT_DEVICE auto table_element(const DeviceSlot& slot, int64_t offset) {
  return Element::value(
      device::load(static_cast<const typename Element::Stored*>(slot.data) + offset));
}

/// Where row (.., b, head, position) of one side of a dot begins.
template <int kRank>
ATTNRT_DEVICE int64_t dot_row(const DeviceSlot& slot, int64_t b, int64_t head, int64_t position) {
  int64_t offset = clamped_offset(slot, kRank - 2, position);
  if constexpr (kRank > 2) offset += clamped_offset(slot, kRank - 3, head);
  if constexpr (kRank > 3) offset += clamped_offset(slot, kRank - 4, b);
  return offset;
}

/// Sum over d of q_side[.., q, d] * kv_side[.., kv, d].
template <class QElement, int kQRank, class KvElement, int kKvRank>
ATTNRT_DEVICE float dot(const DeviceSlot& q_side, const DeviceSlot& kv_side, const ExprPoint& at) {
  const int64_t q_row = dot_row<kQRank>(q_side, at.b, at.h, at.q);
  const int64_t kv_row = dot_row<kKvRank>(kv_side, at.b, at.hkv, at.kv);
  const int64_t length = int_min(q_side.shape[kQRank - 1], kv_side.shape[kKvRank - 1]);
  float sum = 0.0f;
  for (int64_t d = 0; d < length; ++d) {
    sum = device::fma(table_element<QElement>(q_side, q_row + d * q_side.strides[kQRank - 1]),
                      table_element<KvElement>(kv_side, kv_row + d * kv_side.strides[kKvRank - 1]),
                      sum);
  }
  return sum;
}

}  // namespace attnrt::cuda
