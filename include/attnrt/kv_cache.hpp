// SPDX-License-Identifier: Apache-2.0
// Where K and V live. A KvView borrows memory of anybody's cache; appending writes through it.
#pragma once

#include <cstdint>

#include "attnrt/tensor.hpp"

namespace attnrt {

/// Physical order of a cache. Strides say the rest, so padded views of each are fine.
enum class KvLayout : uint8_t {
  kPacked,    // (total_k, Hkv, D), sequences one after the other: cu_seqlens_k
  kNHD,       // (num_pages, page_size, Hkv, D)
  kHND,       // (num_pages, Hkv, page_size, D)
  kPacked16,  // (num_pages, Hkv, [K | V]), in the order that kernels read: the fast one
};

// kPacked16. A page holds, for one KV head after the other, all its K, then all its V. Head dims
// are padded with zeros to Dp and Dvp, multiples of 16; page_size is a multiple of 16; K and V of
// every page and head begin on 64-byte lines. With gs = 32 where page_size is a multiple of 32,
// else 16, element d of the key in slot t of the page stands, counted from the first element of K
// or V of that page and head, at
//
//   bf16       K  t/16*16*Dp  + d/2*32     + t%16*2    + d%2
//              V  t/gs*gs*Dvp + d/16*gs*16 + t%gs/2*32 + d%16*2 + t%2
//   f32, f16   K  t/16*16*Dp  + d*16       + t%16
//              V  t/gs*gs*Dvp + d/16*gs*16 + t%gs*16   + d%16
//
// so 16 keys share a line of K, and the 16 slots from a multiple of 16 on (a group) are written and
// read together. append_kv zero-fills a group when it writes its first slot; who writes this layout
// himself should do the same, and must write the padding of each key as zeros.
//
// Kernels read whole groups of consecutive keys: key 0 of a sequence must stand at the start of a
// group, so attend refuses leftpad_k that is not a multiple of 16. MLA (v_is_k_prefix) is refused:
// K and V have orders of their own here.

/// "packed", "nhd", "hnd" or "packed16".
const char* to_string(KvLayout layout) noexcept;

/// Bytes of a dense packed16 cache, padding included; INT64_MAX where that overflows.
/// head_dim_v 0 means head_dim.
int64_t packed16_bytes(DType dtype, int64_t num_pages, int32_t page_size, int32_t num_heads_kv,
                       int32_t head_dim, int32_t head_dim_v = 0) noexcept;

/// Distances in elements between pages, between keys of a page, and between KV heads of a key.
struct KvStrides {
  int64_t page = 0;   // packed: unused
  int64_t token = 0;  // packed16: unused
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

  /// A dense packed16 cache at `data`, 64-byte aligned, of packed16_bytes(..) bytes; head_dim_v 0
  /// means head_dim. With branches a page holds, for each KV head, K of branch 0, K of branch 1,
  /// .., V: the view is that of branch 0, and packed16_bytes(view) says what it takes.
  static KvView packed16(void* data, DType dtype, int64_t num_pages, int32_t page_size,
                         int32_t num_heads_kv, int32_t head_dim, int32_t head_dim_v = 0,
                         int32_t num_branches = 1) noexcept;

  /// Where K of a branch stands in a cache that packed16() laid out for it: Branch::k.
  [[nodiscard]] void* packed16_branch(int32_t branch) const noexcept;

  /// MLA: one copy in NHD pages of latent rows with head_dim columns; V is their first head_dim_v.
  static KvView mla(void* kv, DType dtype, int64_t num_pages, int32_t page_size, int32_t head_dim,
                    int32_t head_dim_v) noexcept;
};

/// Rotary position embedding: columns [0, rotary_dim) of a row at position p are rotated by the
/// angles whose cosines and sines stand in row p of the tables. f32 arithmetic.
struct RotaryView {
  const void* cos = nullptr;  // (max_position, rotary_dim / 2), null: no rotation
  const void* sin = nullptr;
  DType dtype = DType::kF32;
  int32_t max_position = 0;
  int32_t rotary_dim = 0;    // even, at most head_dim
  bool interleaved = false;  // pairs (0,1),(2,3).. (GPT-J) instead of (0,d/2),(1,d/2+1).. (NeoX)
};

/// Where new tokens go, in device memory and read when the kernel runs, so that a captured append
/// serves later steps. Slots outside of the cache are skipped; positions must be within the tables,
/// which nobody checks.
struct DeviceSlots {
  const int64_t* slot_mapping = nullptr;      // [total_new], as AppendArgs::slot_mapping
  const int32_t* rotary_positions = nullptr;  // [total_new], with rotary
};

/// Bytes of the memory behind a view that KvView::packed16 made, of null data, too.
int64_t packed16_bytes(const KvView& view) noexcept;

}  // namespace attnrt
