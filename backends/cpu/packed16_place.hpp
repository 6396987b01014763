// SPDX-License-Identifier: Apache-2.0
// Addresses of the groups of a packed16 cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "attnrt/kv_cache.hpp"
#include "src/packed16.hpp"

namespace attnrt::cpu {

/// K or V of a packed16 cache.
struct Packed16Half {
  std::byte* data;
  DType dtype;
  bool is_v;
  int64_t page_stride, head_stride;  // elements
  int64_t dim;
  int64_t columns;  // dim with its padding
  int32_t page_size;
  int32_t v_keys;

  Packed16Half(const KvView& kv, bool v)
      : data(static_cast<std::byte*>(v ? kv.v : kv.k)),
        dtype(kv.dtype),
        is_v(v),
        page_stride(v ? kv.v_strides.page : kv.k_strides.page),
        head_stride(v ? kv.v_strides.head : kv.k_strides.head),
        dim(v ? kv.head_dim_v : kv.head_dim),
        columns(packed16_dim(v ? kv.head_dim_v : kv.head_dim)),
        page_size(kv.page_size),
        v_keys(packed16_v_keys(kv.page_size)) {}

  /// First element of the group that holds `slot`: page * page_size + offset.
  [[nodiscard]] std::byte* group(int64_t slot, int64_t head) const {
    const int64_t t = slot % page_size;
    // V of the second 16 of 32 keys lies 256 elements behind that of the first.
    const int64_t within =
        is_v ? t / v_keys * v_keys * columns + t % v_keys / kPacked16Keys * kPacked16Keys * 16
             : t / kPacked16Keys * kPacked16Keys * columns;
    const int64_t elements = slot / page_size * page_stride + head * head_stride + within;
    return data + elements * size_of(dtype);
  }

  /// Zeros in all 16 slots of a group, padding included.
  void clear(std::byte* group) const {
    const auto line = static_cast<size_t>(kPacked16Keys * 16 * size_of(dtype));
    const int64_t step = (is_v ? v_keys : kPacked16Keys) * 16 * size_of(dtype);
    for (int64_t d = 0; d < columns; d += 16) std::memset(group + d / 16 * step, 0, line);
  }
};

}  // namespace attnrt::cpu
