// SPDX-License-Identifier: Apache-2.0
// The multiply probe's block of threads: products of tensor cores by the instruction that the
// attention kernels are made of, in registers only.
#pragma once

#include "backends/cuda/device/device.hpp"

namespace attnrt::perf {

inline constexpr int kMultiplyChains = 8;  // sums that do not wait for each other, of each warp
inline constexpr int kMultiplyThreads = 128;

/// Operations of a block, two per multiply-add: m16n8k16 of every warp and chain.
constexpr int64_t multiply_flops(int32_t iterations) {
  return int64_t{iterations} * kMultiplyChains * (kMultiplyThreads / 32) * (2 * 16 * 8 * 16);
}

template <class T>
ATTNRT_DEVICE void multiply_block(int32_t iterations, float* sink) {
  // No zeros: what tensor cores draw, and so how fast they are clocked, depends on the operands.
  const float x = 1.0f + 0.03125f * static_cast<float>(cuda::device::lane_index());
  const uint32_t even = cuda::device::pack<T>(x, -0.75f * x);
  const uint32_t odd = cuda::device::pack<T>(-x, 0.625f * x);
  const uint32_t a[4] = {even, odd, odd, even};
  float sums[kMultiplyChains][4] = {};
  ATTNRT_NO_UNROLL
  for (int32_t i = 0; i < iterations; ++i) {
    ATTNRT_UNROLL
    for (int chain = 0; chain < kMultiplyChains; ++chain) {
      cuda::device::mma<T>(sums[chain], a, odd, even);
    }
  }
  float total = 0.0f;
  ATTNRT_UNROLL
  for (int chain = 0; chain < kMultiplyChains; ++chain) {
    ATTNRT_UNROLL
    for (int j = 0; j < 4; ++j) total += sums[chain][j];
  }
  if (total == 0.12345f) cuda::device::store(sink, total);  // so that the products are not removed
}

}  // namespace attnrt::perf
