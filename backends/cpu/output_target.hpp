// SPDX-License-Identifier: Apache-2.0
// Rows of out and lse as kernels see them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/kernel_table.hpp"

namespace attnrt::cpu {

/// The target whose first token is row `row`. Sinks are left out.
inline OutputTarget output_target(const TensorView& out, const LseView& lse, int64_t total_q,
                                  int64_t row) noexcept {
  const int64_t heads_q = out.shape[1];
  OutputTarget target{};
  if (out.data != nullptr) {
    target.out = static_cast<std::byte*>(out.data) + row * out.strides[0] * size_of(out.dtype);
  }
  target.dtype = out.dtype;
  target.token_stride = out.strides[0];
  target.head_stride = out.strides[1];
  const bool heads_first = lse.order == LseOrder::kHeadsFirst;
  target.lse_token_stride = heads_first ? 1 : heads_q;
  target.lse_head_stride = heads_first ? total_q : 1;
  if (lse.data != nullptr) target.lse = lse.data + row * target.lse_token_stride;
  target.lse_base = lse.base;
  target.lse_empty = lse.empty;
  target.scale = 1.0f;
  return target;
}

inline OutputTarget::Operand epilogue_operand(const ConstTensorView& tensor, int64_t row) noexcept {
  if (tensor.data == nullptr) return {};
  const int64_t offset = row * tensor.strides[0] * size_of(tensor.dtype);
  return {static_cast<const std::byte*>(tensor.data) + offset, tensor.dtype, tensor.strides[0],
          tensor.strides[1]};
}

}  // namespace attnrt::cpu
