// SPDX-License-Identifier: Apache-2.0
// New keys and values into the cache: converted, K rotated.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/elements.cuh"
#include "backends/cuda/kernels/params.hpp"

namespace attnrt::cuda {

inline constexpr uint32_t kAppendThreads = 128;

/// Element d of a row of K, rotated; its partner is read too.
ATTNRT_DEVICE float rotated_element(const AppendParams& params, int64_t first, int32_t d,
                                    int32_t position) {
  const AppendHalf& k = params.halves[0];
  const float x = load_element(k.element, k.source, first + d);
  const int32_t half = params.rotary_dim / 2;
  if (d >= params.rotary_dim) return x;
  const bool is_second = params.interleaved != 0 ? d % 2 == 1 : d >= half;
  const int32_t angle = params.interleaved != 0 ? d / 2 : d % half;
  const int32_t distance = params.interleaved != 0 ? 1 : half;
  const float other =
      load_element(k.element, k.source, first + (is_second ? d - distance : d + distance));
  const int64_t at = int64_t{position} * half + angle;
  const float cos = load_element(params.rotary_element, params.cos, at);
  const float sin = load_element(params.rotary_element, params.sin, at);
  return device::fma(x, cos, device::mul(other, is_second ? sin : -sin));
}

/// Block (token, K or V): threads take the elements of all heads in turns.
ATTNRT_DEVICE void append_block(const AppendParams& params) {
  const int64_t token = device::block_x();
  const bool is_v = device::block_y() == 1;
  const AppendHalf& half = params.halves[is_v ? 1 : 0];
  const auto place = device::load(params.places + token);
  if (place.slot < 0) return;
  const int64_t page = params.page_size == 0 ? 0 : place.slot / params.page_size;
  const int64_t offset = params.page_size == 0 ? place.slot : place.slot % params.page_size;
  const int64_t target = page * half.target_page_stride + offset * half.target_token_stride;
  const int64_t source = token * half.token_stride;
  for (auto i = static_cast<int32_t>(device::thread_index()); i < params.heads * half.dim;
       i += static_cast<int32_t>(kAppendThreads)) {
    const int32_t head = i / half.dim;
    const int32_t d = i - head * half.dim;
    const int64_t first = source + head * half.head_stride;
    const bool rotates = !is_v && params.rotary_dim > 0;
    const float value = rotates ? rotated_element(params, first, d, place.position)
                                : load_element(half.element, half.source, first + d);
    store_element(params.target_element, half.target, target + head * half.target_head_stride + d,
                  value);
  }
}

}  // namespace attnrt::cuda
