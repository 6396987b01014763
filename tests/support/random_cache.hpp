// SPDX-License-Identifier: Apache-2.0
// Paged caches of any layout full of random bits, NaN with payloads among them.
#pragma once

#include <cstdint>

#include "attnrt/kv_cache.hpp"
#include "tests/support/aligned_bytes.hpp"

namespace attnrt::test {

struct CacheShape {
  DType dtype = DType::kBF16;
  KvLayout layout = KvLayout::kNHD;
  int64_t num_pages = 5;
  int32_t page_size = 16;
  int32_t heads = 2;
  int32_t head_dim = 16;
  int32_t head_dim_v = 16;
  bool mla = false;
  bool padded = false;  // gaps between rows, heads and pages; packed16: K and V apart too
};

struct RandomCache {
  CacheShape shape;
  AlignedBytes k_bytes, v_bytes;  // v_bytes is empty where K and V share pages or rows
  KvView view;

  RandomCache(const CacheShape& wanted, uint64_t seed);
  RandomCache(const RandomCache& other);
  RandomCache& operator=(const RandomCache&) = delete;

  /// The bits of element d of K or V; d may be padding of packed16.
  [[nodiscard]] uint32_t bits(bool is_v, int64_t slot, int64_t head, int64_t d) const;
  void set_bits(bool is_v, int64_t slot, int64_t head, int64_t d, uint32_t bits);

  /// Columns of a row, padding included.
  [[nodiscard]] int64_t columns(bool is_v) const;
  [[nodiscard]] bool same_bytes(const RandomCache& other) const {
    return k_bytes == other.k_bytes && v_bytes == other.v_bytes;
  }

 private:
  void point_view();
  [[nodiscard]] std::byte* element(bool is_v, int64_t slot, int64_t head, int64_t d) const;
};

}  // namespace attnrt::test
