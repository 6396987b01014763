// SPDX-License-Identifier: Apache-2.0
// V that is not finite, in a block of keys that some rows see and others do not. A masked key
// weighs 0, but 0 * NaN is NaN, and masked keys must have no effect at all. So such values become
// zeros before tensor cores see them, and are added to the rows that do see them one by one.
#pragma once

#include <type_traits>

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/shape.hpp"
#include "backends/cuda/kernels/softmax.cuh"

namespace attnrt::cuda {

/// All threads of the block must call all of these.
template <class T, class Shape>
class FiniteTile {
 public:
  /// A tile of V at `tile`, weights at `weights`.
  ATTNRT_DEVICE FiniteTile(uint32_t tile, uint32_t weights, uint32_t row_warp, uint32_t key_warp)
      : tile_(tile), weights_(weights), row_warp_(row_warp), key_warp_(key_warp) {}

  [[nodiscard]] ATTNRT_DEVICE bool has_non_finite() const {
    bool found = false;
    for (uint32_t at = device::thread_index(); at < kQuads; at += Shape::kThreads) {
      const auto quad = device::shared_load<Quad>(tile_ + at * 16);
      found = found || cleared(quad.x) != quad.x || cleared(quad.y) != quad.y ||
              cleared(quad.z) != quad.z || cleared(quad.w) != quad.w;
    }
    return device::sync_block_or(found);
  }

  /// Weights have been stored. Adds what is not finite to the sums of rows that see it, and clears
  /// it in the tile.
  template <int kTiles, class Expression>
  ATTNRT_DEVICE void add_non_finite(float (&acc)[kTiles][4],
                                    const Softmax<T, Shape, Expression>& softmax,
                                    int32_t first_key) const {
    device::sync_block();
    ATTNRT_UNROLL
    for (uint32_t n = 0; n < kTiles; ++n) {
      float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      add_column_pair(sums, n, softmax, first_key);
      ATTNRT_UNROLL
      for (int j = 0; j < 4; ++j) acc[n][j] = device::add(acc[n][j], sums[j]);
    }
    device::sync_block();
    for (uint32_t at = device::thread_index(); at < kQuads; at += Shape::kThreads) {
      auto quad = device::shared_load<Quad>(tile_ + at * 16);
      quad = {cleared(quad.x), cleared(quad.y), cleared(quad.z), cleared(quad.w)};
      device::shared_store(tile_ + at * 16, quad);
    }
    device::sync_block();
  }

 private:
  static constexpr uint32_t kQuads = Shape::kTileBytes / 16;
  static constexpr uint32_t kExponent = std::is_same_v<T, Half> ? 0x7c00u : 0x7f80u;

  // Two elements, with 0 for those that are not finite.
  static ATTNRT_DEVICE uint32_t cleared(uint32_t bits) {
    const uint32_t low = (bits & kExponent) == kExponent ? 0 : bits & 0xffffu;
    const uint32_t high = (bits >> 16 & kExponent) == kExponent ? 0 : bits & 0xffff0000u;
    return low | high;
  }

  template <class Expression>
  ATTNRT_DEVICE void add_column_pair(float (&sums)[4], uint32_t n,
                                     const Softmax<T, Shape, Expression>& softmax,
                                     int32_t first_key) const {
    const uint32_t lane = device::lane_index();
    const uint32_t chunk = key_warp_ * Shape::kColumnTiles + n;
    const uint32_t row = row_warp_ * 16 + lane / 4;
    ATTNRT_NO_UNROLL
    for (uint32_t key = 0; key < kBlockKeys; ++key) {
      const auto bits = device::shared_load<uint32_t>(tile_ + swizzled<Shape::kChunks>(key, chunk) +
                                                      lane % 4 * 4);
      const uint32_t bad = bits & ~cleared(bits);
      if (bad == 0) continue;
      ATTNRT_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        const int32_t at = first_key + static_cast<int32_t>(key);
        if (!softmax.sees(static_cast<int>(half), at)) continue;
        const uint32_t place = swizzled<8>(row + 8 * half, key / 8) + key % 8 * 2;
        const float weight = device::unpack_low<T>(device::shared_load<uint16_t>(weights_ + place));
        if ((bad & 0xffffu) != 0) {
          sums[2 * half] = device::fma(weight, device::unpack_low<T>(bits), sums[2 * half]);
        }
        if (bad >> 16 != 0) {
          sums[2 * half + 1] =
              device::fma(weight, device::unpack_high<T>(bits), sums[2 * half + 1]);
        }
      }
    }
  }

  const uint32_t tile_;
  const uint32_t weights_;
  const uint32_t row_warp_;
  const uint32_t key_warp_;
};

}  // namespace attnrt::cuda
