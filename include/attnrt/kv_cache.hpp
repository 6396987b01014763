// SPDX-License-Identifier: Apache-2.0
// Where K and V live. A KvView borrows memory of anybody's cache; appending writes through it.
#pragma once

#include <cstdint>

#include "attnrt/tensor.hpp"

namespace attnrt {

/// Physical order of a cache. Strides say the rest, so padded views of each are fine.
enum class KvLayout : uint8_t {
  kPacked,  // (total_k, Hkv, D), sequences one after the other: cu_seqlens_k
  kNHD,     // (num_pages, page_size, Hkv, D)
  kHND,     // (num_pages, Hkv, page_size, D)
};

/// "packed", "nhd" or "hnd".
const char* to_string(KvLayout layout) noexcept;

/// Distances in elements between pages, between keys of a page, and between KV heads of a key.
struct KvStrides {
  int64_t page = 0;  // packed: unused
  int64_t token = 0;
  int64_t head = 0;
};

/// K and V of one layer, borrowed. `attend` only reads; `append_kv` writes. The last dimension is
/// contiguous.
struct KvView {
  KvLayout layout = KvLayout::kNHD;
  DType dtype = DType::kF32;
  Device device = Device::kCpu;
  void* k = nullptr;
  void* v = nullptr;       // ignored with v_is_k_prefix
  int64_t num_pages = 0;   // pages of the cache; packed: 0
  int32_t page_size = 0;   // keys per page; packed: 0
  int64_t num_tokens = 0;  // keys that fit: num_pages * page_size, or total_k when packed
  int32_t num_heads_kv = 0;
  int32_t head_dim = 0;    // of K (and q)
  int32_t head_dim_v = 0;  // of V (and out)
  KvStrides k_strides;
  KvStrides v_strides;         // ignored with v_is_k_prefix
  bool v_is_k_prefix = false;  // MLA: V is the first head_dim_v columns of K, stored once

  /// Packed K (total_k, Hkv, D) and V (total_k, Hkv, Dv); head_dim_v 0 means head_dim.
  static KvView packed(void* k, void* v, DType dtype, int64_t total_k, int32_t num_heads_kv,
                       int32_t head_dim, int32_t head_dim_v = 0) noexcept;

  /// Dense pages in `layout` order (kNHD or kHND); head_dim_v 0 means head_dim.
  static KvView paged(void* k, void* v, DType dtype, KvLayout layout, int64_t num_pages,
                      int32_t page_size, int32_t num_heads_kv, int32_t head_dim,
                      int32_t head_dim_v = 0) noexcept;

  /// MLA: one copy in NHD pages of latent rows with head_dim columns; V is their first head_dim_v.
  static KvView mla(void* kv, DType dtype, int64_t num_pages, int32_t page_size, int32_t head_dim,
                    int32_t head_dim_v) noexcept;
};

}  // namespace attnrt
