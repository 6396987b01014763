// SPDX-License-Identifier: Apache-2.0
// New keys and values into the cache: converted, K rotated.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/elements.cuh"
#include "backends/cuda/kernels/params.hpp"
#include "backends/cuda/kernels/rotary.cuh"

namespace attnrt::cuda {

inline constexpr uint32_t kAppendThreads = 128;

ATTNRT_DEVICE DevicePlace place_of(const AppendParams& params, int64_t token) {
  if (params.places != nullptr) return device::load(params.places + token);
  const auto slot = device::load(params.slots + token);
  if (slot >= params.num_slots) return {-1, 0, 0};
  return {slot, params.positions != nullptr ? device::load(params.positions + token) : 0, 0};
}

/// Block (token, K or V): threads take the elements of all heads in turns.
ATTNRT_DEVICE void append_block(const AppendParams& params) {
  const int64_t token = device::block_x();
  const bool is_v = device::block_y() == 1;
  const AppendHalf& half = params.halves[is_v ? 1 : 0];
  const auto place = place_of(params, token);
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
    const auto element = [&](int32_t at) {
      return load_element(half.element, half.source, first + at);
    };
    const float value = is_v ? element(d) : rotated(params.rotary, place.position, d, element);
    store_element(params.target_element, half.target, target + head * half.target_head_stride + d,
                  value);
  }
}

}  // namespace attnrt::cuda
