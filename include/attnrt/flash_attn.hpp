// SPDX-License-Identifier: Apache-2.0
// Attention with the parameters of FlashAttention's two inference functions and of PyTorch's
// varlen_attn. Each call plans and attends; engines with many layers make one Plan instead. Tensors
// may be on a device, together with slopes, sinks and rotary tables; lengths and block tables stay
// in host memory.
#pragma once

#include "attnrt/attention.hpp"

namespace attnrt {

/// Names and meanings of flash_attn_varlen_func. `k`, `v` and a paged cache are both a KvView.
struct FlashAttnVarlenArgs {
  ConstTensorView q;  // (total_q, Hq, Dqk)
  KvView kv;          // packed (total_k, Hkv, D), or pages together with block_table
  TensorView out;     // (total_q, Hq, Dv)
  std::span<const int32_t> cu_seqlens_q;  // [batch + 1]
  std::span<const int32_t> cu_seqlens_k;  // [batch + 1]; empty with block_table
  std::span<const int32_t> seqused_k;     // [batch]; required with block_table
  std::span<const int32_t> block_table;   // [batch, max_pages] for pages
  int32_t max_pages = 0;                  // columns of block_table
  int64_t block_table_stride = 0;         // elements between its rows; 0 means max_pages
  std::optional<float> softmax_scale;     // default 1 / sqrt(Dqk)
  bool causal = false;
  int32_t window_size_left = -1;
  int32_t window_size_right = -1;
  float softcap = 0.0f;
  std::span<const float> alibi_slopes;  // (Hq) or (batch * Hq); empty: none
  std::span<const float> sinks;         // (Hq); empty: none
  int32_t num_splits = 0;  // a hint, unused: splits are fixed, so that results do not depend on it
  LseView softmax_lse;     // return_lse
  std::stop_token stop;
};

Status flash_attn_varlen(Context& context, const FlashAttnVarlenArgs& args);

/// Names and meanings of flash_attn_with_kvcache. With `k` (and `v`), new keys are first written
/// in place at cache_seqlens, rotated if rotary_cos is given; q is rotated too, and cache_seqlens
/// counts the keys *before* the append. New key i is rotated by position cache_seqlens + i, and so
/// is query row i when causal or windowed, else every row by cache_seqlens; cache_leftpad is not
/// taken off, as in FlashAttention.
struct FlashAttnKvCacheArgs {
  ConstTensorView q;  // (batch * seqlen_q, Hq, Dqk), or ragged with cu_seqlens_q
  KvView kv_cache;    // (batch_cache, seqlen_cache, Hkv, D) as NHD pages of seqlen_cache keys, or
                      // pages together with block_table
  TensorView out;     // like q, with Dv
  int32_t batch_size = 0;
  std::span<const int32_t> cu_seqlens_q;      // [batch + 1]; empty: total_q / batch_size each
  ConstTensorView k;                          // (batch * seqlen_new, Hkv, Dqk); data null: none
  ConstTensorView v;                          // (batch * seqlen_new, Hkv, Dv)
  std::span<const int32_t> cu_seqlens_k_new;  // [batch + 1]; empty: total_new / batch_size each
  std::span<const int32_t> cache_seqlens;     // [batch]
  std::span<const int32_t> cache_batch_idx;   // [batch] rows of an unpaged cache; default 0, 1, ..
  std::span<const int32_t> cache_leftpad;     // [batch] first valid slot; default 0
  std::span<const int32_t> block_table;       // [batch, max_pages]
  int32_t max_pages = 0;
  int64_t block_table_stride = 0;
  const void* rotary_cos = nullptr;  // (seqlen_ro, rotary_dim / 2) of rotary_dtype
  const void* rotary_sin = nullptr;
  DType rotary_dtype = DType::kF32;
  int32_t rotary_seqlen = 0;
  int32_t rotary_dim = 0;
  bool rotary_interleaved = true;  // FlashAttention's default
  std::optional<float> softmax_scale;
  bool causal = false;
  int32_t window_size_left = -1;
  int32_t window_size_right = -1;
  float softcap = 0.0f;
  std::span<const float> alibi_slopes;
  std::span<const float> sinks;
  int32_t num_splits = 0;  // a hint, unused
  LseView softmax_lse;     // return_softmax_lse
  std::stop_token stop;
};

/// Nothing is written, the cache included, unless every argument is good.
Status flash_attn_with_kvcache(Context& context, const FlashAttnKvCacheArgs& args);

}  // namespace attnrt
