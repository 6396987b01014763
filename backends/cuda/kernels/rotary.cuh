// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding of K as it is appended and of q as it is loaded: one arithmetic for
// both.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/elements.cuh"
#include "backends/cuda/kernels/params.hpp"

namespace attnrt::cuda {

/// Element d of a row, rotated; `element(i)` is element i as it was, asked for d and its partner.
template <class ElementAt>
ATTNRT_DEVICE float rotated(const RotaryParams& rotary, int64_t position, int32_t d,
                            const ElementAt& element) {
  const float x = element(d);
  if (d >= rotary.dim) return x;
  const int32_t half = rotary.dim / 2;
  const bool is_second = rotary.interleaved != 0 ? d % 2 == 1 : d >= half;
  const int32_t angle = rotary.interleaved != 0 ? d / 2 : d % half;
  const int32_t distance = rotary.interleaved != 0 ? 1 : half;
  const float other = element(is_second ? d - distance : d + distance);
  const int64_t at = position * half + angle;
  const float cos = load_element(rotary.element, rotary.cos, at);
  const float sin = load_element(rotary.element, rotary.sin, at);
  return device::fma(x, cos, device::mul(other, is_second ? sin : -sin));
}

}  // namespace attnrt::cuda
