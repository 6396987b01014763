// SPDX-License-Identifier: Apache-2.0
// Masks that are one interval of keys per row: causal and windows.
#pragma once

#include <cstdint>

namespace attnrt {

/// First and one-past-last key that the query token at position p sees.
/// kv_len and windows are those of the plan; causal is window_right 0 here.
struct KeyRange {
  int32_t begin = 0;
  int32_t end = 0;
};

constexpr KeyRange visible_keys(int64_t p, int32_t kv_len, int32_t window_left,
                                int32_t window_right) noexcept {
  const int64_t begin = window_left < 0 || p - window_left < 0 ? 0 : p - window_left;
  const int64_t end =
      window_right < 0 || p + window_right + 1 > kv_len ? kv_len : p + window_right + 1;
  if (begin >= end) return {0, 0};
  return {static_cast<int32_t>(begin), static_cast<int32_t>(end)};
}

}  // namespace attnrt
