// SPDX-License-Identifier: Apache-2.0
// What a call reads, as kernels take it: K and V of a sequence, q and K of further branches.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/kernel_table.hpp"
#include "src/plan_data.hpp"

namespace attnrt::cpu {

inline KvSource kv_source(const KvView& kv, int32_t page_size, const PlanSequence& seq) noexcept {
  const KvStrides& v = kv.v_is_k_prefix ? kv.k_strides : kv.v_strides;
  KvSource source;
  source.k = kv.k;
  source.v = kv.v_is_k_prefix ? kv.k : kv.v;
  source.k_page_stride = kv.k_strides.page;
  source.k_token_stride = kv.k_strides.token;
  source.k_head_stride = kv.k_strides.head;
  source.v_page_stride = v.page;
  source.v_token_stride = v.token;
  source.v_head_stride = v.head;
  source.pages = seq.pages;
  source.first_slot = seq.first_slot;
  source.page_size = page_size;
  source.dtype = kv.dtype;
  source.packed16 = kv.layout == KvLayout::kPacked16;
  source.v_group = page_size % 32 == 0 ? 32 : 16;
  source.head_dim = kv.head_dim;
  source.head_dim_v = kv.head_dim_v;
  return source;
}

inline BranchSource branch_source(const KvView& kv, const Branch& branch) noexcept {
  // As numbers: the two need not be of one allocation.
  const uintptr_t first = reinterpret_cast<uintptr_t>(kv.k);
  const auto k_bytes = static_cast<int64_t>(reinterpret_cast<uintptr_t>(branch.k) - first);
  return {branch.q.data, branch.q.strides[0], branch.q.strides[1], k_bytes};
}

}  // namespace attnrt::cpu
