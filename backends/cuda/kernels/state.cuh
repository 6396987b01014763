// SPDX-License-Identifier: Apache-2.0
// Softmax states of splits: how two become one, and how the last one becomes a result. Whoever
// folds (the block that computed them, or a merge kernel) runs these operations in this order.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/params.hpp"

namespace attnrt::cuda {

inline constexpr float kLn2 = 0.693147180559945309f;
inline constexpr float kLog2E = 1.44269504088896341f;

/// What both sides of a fold are multiplied with.
struct FoldWeights {
  float total;
  float added;
};

/// The references and sums of a row; what is weighted with V lies elsewhere.
struct RowState {
  float ref;  // natural; -inf: nothing seen
  float sum;

  static ATTNRT_DEVICE RowState empty() { return {-device::infinity(), 0.0f}; }
  [[nodiscard]] ATTNRT_DEVICE bool is_empty() const {
    return ref == -device::infinity() && sum == 0.0f;
  }

  /// Takes in `added`, which is not empty, and says how to weigh: total = total * w.total +
  /// added * w.added, by fold(). From an empty state it is `added`, bit for bit.
  ATTNRT_DEVICE FoldWeights fold(const RowState& added) {
    const float top = device::maximum(ref, added.ref);
    const FoldWeights w = {weight(ref, top), weight(added.ref, top)};
    sum = device::fma(added.sum, w.added, device::mul(sum, w.total));
    ref = top;
    return w;
  }

  /// exp(from - to). Equal references weigh 1, infinite ones too.
  static ATTNRT_DEVICE float weight(float from, float to) {
    if (from == to) return 1.0f;
    return device::exp2_fast(device::mul(device::add(from, -to), kLog2E));
  }
};

ATTNRT_DEVICE float fold(float total, float added, const FoldWeights& w) {
  return device::fma(added, w.added, device::mul(total, w.total));
}

/// A finished row: results are acc * scale, and the log-sum-exp is natural.
struct RowResult {
  float scale;
  float lse;
  bool empty;  // all results are 0
};

ATTNRT_DEVICE RowResult finish_row(RowState state, const float* sinks, uint32_t head) {
  const bool empty = state.is_empty();
  float scale = 1.0f;
  if (sinks != nullptr) {
    const float sink = device::load(sinks + head);
    if (sink != -device::infinity()) {
      // fmaxf leaves NaN out, but a NaN sink must not go unseen.
      const float top = sink != sink ? sink : device::maximum(state.ref, sink);
      scale = empty ? 0.0f : RowState::weight(state.ref, top);
      state.sum = device::add(device::mul(state.sum, scale), RowState::weight(sink, top));
      state.ref = top;
    }
  }
  if (state.is_empty()) return {0.0f, -device::infinity(), true};
  return {device::divide(scale, state.sum), device::add(state.ref, device::natural_log(state.sum)),
          empty};
}

ATTNRT_DEVICE void store_lse(const OutputParams& output, int64_t row, uint32_t head, float lse) {
  if (output.lse == nullptr) return;
  float value = output.lse_base_two != 0 ? device::mul(lse, kLog2E) : lse;
  if (lse == -device::infinity() && output.lse_empty_plus != 0) value = device::infinity();
  const int64_t at = output.lse_tokens_first != 0 ? row * output.heads_q + head
                                                  : int64_t{head} * output.total_q + row;
  device::store(output.lse + at, value);
}

/// Writes elements `column` and `column + 1` of a row, those that exist.
ATTNRT_DEVICE void store_pair(const OutputParams& output, int64_t first, int32_t column, float a,
                              float b) {
  if (column >= output.head_dim_v) return;
  const bool both = column + 1 < output.head_dim_v;
  const int64_t at = first + column;
  if (output.element == Element::kFloat) {
    float* out = static_cast<float*>(output.out) + at;
    device::store(out, a);
    if (both) device::store(out + 1, b);
    return;
  }
  const uint32_t bits =
      output.element == Element::kHalf ? device::pack<Half>(a, b) : device::pack<BFloat16>(a, b);
  uint16_t* out = static_cast<uint16_t*>(output.out) + at;
  if (both && output.pairs != 0) {
    device::store(reinterpret_cast<uint32_t*>(out), bits);
    return;
  }
  device::store(out, static_cast<uint16_t>(bits & 0xffffu));
  if (both) device::store(out + 1, static_cast<uint16_t>(bits >> 16));
}

}  // namespace attnrt::cuda
