// SPDX-License-Identifier: Apache-2.0
// Writing new rows into a cache, and merging finished results. Both are bound by memory.
#pragma once

#include "backends/cpu/kernels/generic/rotary_inl.hpp"
#include "backends/cpu/kernels/generic/state_inl.hpp"

namespace attnrt::cpu {
namespace {

// All heads of one token. Without a conversion or a rotation the bits are copied as they are.
template <class Isa>
void store_heads(const StoreTask& task) {
  const int64_t src_bytes = task.src_dtype == DType::kF32 ? 4 : 2;
  const int64_t dst_bytes = task.dst_dtype == DType::kF32 ? 4 : 2;
  const bool copy = task.rotary == nullptr && task.src_dtype == task.dst_dtype;
  for (int32_t head = 0; head < task.heads; ++head) {
    const int64_t src_at = head * task.src_head_stride;
    const int64_t dst_at = head * task.dst_head_stride;
    if (copy) {
      __builtin_memcpy(static_cast<char*>(task.dst) + dst_at * dst_bytes,
                       static_cast<const char*>(task.src) + src_at * src_bytes,
                       static_cast<size_t>(task.dim * dst_bytes));
      continue;
    }
    load_row<Isa>(task.src_dtype, task.src, src_at, task.dim, task.scratch);
    if (task.rotary != nullptr) rotate_row(*task.rotary, task.position, task.scratch);
    store_row<Isa>(task.dst_dtype, task.scratch, task.dim, task.dst, dst_at);
  }
}

template <class Isa, class In>
inline void add_values(In in, const typename In::Stored* from, float weight, int32_t n, float* to) {
  using Vec = typename Isa::Vec;
  int32_t d = 0;
  for (; d + Isa::kLanes <= n; d += Isa::kLanes) {
    const Vec sum = Isa::fma(Isa::load(in, from + d), Vec(weight), Vec::load_unaligned(to + d));
    sum.store_unaligned(to + d);
  }
  if (d == n) return;
  const Vec sum = Isa::fma(load_part<Isa>(in, from + d, n - d), Vec(weight),
                           load_part<Isa>(F32{}, to + d, n - d));
  store_part<Isa>(F32{}, to + d, n - d, sum);
}

template <class Isa>
inline void add_state(const ConstTensorView& out, int64_t offset, float weight, int32_t n,
                      float* to) {
  if (out.dtype == DType::kF32) {
    add_values<Isa>(F32{}, static_cast<const float*>(out.data) + offset, weight, n, to);
  } else if (out.dtype == DType::kBF16) {
    add_values<Isa>(Bf16{}, static_cast<const uint16_t*>(out.data) + offset, weight, n, to);
  } else {
    add_values<Isa>(F16{}, static_cast<const uint16_t*>(out.data) + offset, weight, n, to);
  }
}

// A finished result with lse L is the state (acc = out, ref = L, sum = 1). States without
// keys, lse -inf, are skipped whatever their out holds. All are weighed against the largest lse
// first, so nothing overflows; a NaN lse makes the row NaN.
template <class Isa>
void merge_states(const MergeStatesTask& task) {
  const int32_t n = task.head_dim_v;
  for (int32_t head = 0; head < task.heads_q; ++head) {
    const int64_t lse_at = head * task.total_q + task.token;
    State total{-kInfinity, 0.0f};
    for (int32_t i = 0; i < task.num_states; ++i) {
      const float lse = task.states[i].lse[lse_at];
      if (lse > total.ref) total.ref = lse;
    }
    __builtin_memset(task.scratch, 0, static_cast<size_t>(n) * sizeof(float));
    for (int32_t i = 0; i < task.num_states; ++i) {
      const StateView& state = task.states[i];
      const float lse = state.lse[lse_at];
      if (lse == -kInfinity) continue;
      const float weight = exp_scalar<Isa>(lse - total.ref);
      const auto& strides = state.out.strides;
      total.sum += weight;
      add_state<Isa>(state.out, task.token * strides.data()[0] + head * strides.data()[1], weight,
                     n, task.scratch);
    }
    finish_row<Isa>(task.out, {0, head}, task.scratch, total, n);
  }
}

}  // namespace
}  // namespace attnrt::cpu
