// SPDX-License-Identifier: Apache-2.0
// Numbers of the packed16 layout (kv_cache.hpp) that validation and backends share.
#pragma once

#include <cstdint>

namespace attnrt {

/// Keys of a group: what shares lines of K, and what append_kv zero-fills together.
inline constexpr int32_t kPacked16Keys = 16;

/// Where K and V of each page and head begin.
inline constexpr int64_t kPacked16Alignment = 64;

/// A head dim with its padding.
constexpr int64_t packed16_dim(int32_t dim) noexcept { return (int64_t{dim} + 15) / 16 * 16; }

/// Keys whose V is interleaved: 32 where pages allow it.
constexpr int32_t packed16_v_keys(int32_t page_size) noexcept {
  return page_size % 32 == 0 ? 32 : 16;
}

}  // namespace attnrt
