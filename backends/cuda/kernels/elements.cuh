// SPDX-License-Identifier: Apache-2.0
// Single elements of a type that is known at run time only.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/params.hpp"

namespace attnrt::cuda {

ATTNRT_DEVICE float load_element(Element element, const void* data, int64_t at) {
  if (element == Element::kFloat) return device::load(static_cast<const float*>(data) + at);
  const uint32_t bits = device::load(static_cast<const uint16_t*>(data) + at);
  return element == Element::kHalf ? device::unpack_low<Half>(bits)
                                   : device::unpack_low<BFloat16>(bits);
}

ATTNRT_DEVICE void store_element(Element element, void* data, int64_t at, float value) {
  if (element == Element::kFloat) {
    device::store(static_cast<float*>(data) + at, value);
    return;
  }
  const uint32_t bits = element == Element::kHalf ? device::pack<Half>(value, 0.0f)
                                                  : device::pack<BFloat16>(value, 0.0f);
  device::store(static_cast<uint16_t*>(data) + at, static_cast<uint16_t>(bits & 0xffffu));
}

}  // namespace attnrt::cuda
