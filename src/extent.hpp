// SPDX-License-Identifier: Apache-2.0
// Sizes in memory that cannot overflow: what does not fit becomes kHuge and is refused.
#pragma once

#include <cstdint>
#include <limits>

namespace attnrt {

inline constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

/// Product and sum of non-negative numbers, kHuge where they overflow.
constexpr int64_t capped_mul(int64_t a, int64_t b) noexcept {
  return b != 0 && a > kHuge / b ? kHuge : a * b;
}
constexpr int64_t capped_add(int64_t a, int64_t b) noexcept {
  return a > kHuge - b ? kHuge : a + b;
}

/// Bytes [begin, end) of an argument; empty when begin == end.
struct ByteRange {
  uintptr_t begin = 0;
  uintptr_t end = 0;
};

inline ByteRange byte_range(const void* data, int64_t bytes) noexcept {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  return {begin, begin + static_cast<uintptr_t>(bytes)};
}

constexpr bool overlap(const ByteRange& a, const ByteRange& b) noexcept {
  return a.begin < b.end && b.begin < a.end && a.begin != a.end && b.begin != b.end;
}

}  // namespace attnrt
