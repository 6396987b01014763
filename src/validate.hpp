// SPDX-License-Identifier: Apache-2.0
// Every rule about arguments, one function per public call. Success allocates nothing; a refusal
// names the argument, its index, its value and the limit.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "attnrt/attention.hpp"
#include "attnrt/flash_attn.hpp"
#include "src/plan_data.hpp"

namespace attnrt {

/// The largest page id of a batch, with where it stands, so that attend can compare it with a
/// cache in O(1).
struct PageBound {
  int32_t max_id = -1;
  int32_t seq = 0;
  int32_t index = 0;
};

/// What the caller calls the arguments: the flash_attn calls have names of their own.
struct ArgNames {
  std::string_view kv, lse, leftpad, cu_seqlens_new;
  std::string_view rotary_cos, rotary_sin, rotary_dim, rotary_dtype, rotary_limit;
};
inline constexpr ArgNames kAttendNames = {.kv = "kv",
                                          .lse = "lse",
                                          .leftpad = "leftpad_k",
                                          .cu_seqlens_new = "",
                                          .rotary_cos = "rotary_q.cos",
                                          .rotary_sin = "rotary_q.sin",
                                          .rotary_dim = "rotary_q.rotary_dim",
                                          .rotary_dtype = "rotary_q.dtype",
                                          .rotary_limit = "rotary_q.max_position"};
inline constexpr ArgNames kAppendNames = {.kv = "kv",
                                          .lse = "",
                                          .leftpad = "",
                                          .cu_seqlens_new = "cu_seqlens_new",
                                          .rotary_cos = "rotary.cos",
                                          .rotary_sin = "rotary.sin",
                                          .rotary_dim = "rotary.rotary_dim",
                                          .rotary_dtype = "rotary.dtype",
                                          .rotary_limit = "rotary.max_position"};
inline constexpr ArgNames kCacheCallNames = {.kv = "kv_cache",
                                             .lse = "softmax_lse",
                                             .leftpad = "cache_leftpad",
                                             .cu_seqlens_new = "cu_seqlens_k_new",
                                             .rotary_cos = "rotary_cos",
                                             .rotary_sin = "rotary_sin",
                                             .rotary_dim = "rotary_dim",
                                             .rotary_dtype = "rotary_dtype",
                                             .rotary_limit = "rotary_seqlen"};

/// O(batch + pages). Page ids that a sequence does not need are not read, and none with kTrusted.
Status validate_plan(const AttentionSpec& spec, const SequenceBatch& batch,
                     const PlanOptions& options, PageBound& bound);

/// O(1); O(batch) with rotary_q, whose tables must reach every position.
Status validate_attend(const PlanData& plan, const AttendArgs& args,
                       const ArgNames& names = kAttendNames);

/// O(tokens): every slot and position is checked, so that nothing is written on error.
Status validate_append(const AppendArgs& args, const ArgNames& names = kAppendNames);

/// O(1).
Status validate_convert(const KvView& from, const KvView& to);

Status validate_merge(std::span<const StateView> states, const TensorView& out, const LseView& lse,
                      std::span<const float> sinks);
Status validate_merge(std::span<const PartialView> partials, const TensorView& out,
                      const LseView& lse, std::span<const float> sinks);

/// What only the flash_attn calls have, or have under another name. The rest is left to the
/// functions above.
Status validate_flash_attn(const FlashAttnVarlenArgs& args);
Status validate_flash_attn(const FlashAttnKvCacheArgs& args);

/// Overlaps that only the whole call can see; every tensor has been checked by then.
Status validate_flash_attn_memory(const FlashAttnKvCacheArgs& args);

}  // namespace attnrt
