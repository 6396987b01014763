// SPDX-License-Identifier: Apache-2.0
// How the threads of an attention block share its rows, keys and columns, and where everything lies
// in shared memory. Every shape computes a row with the same operations in the same order, so the
// choice between shapes never changes a bit.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/params.hpp"

namespace attnrt::cuda {

/// Rows of a block of threads: up to kShortRows, or as many as tall_rows says. Which it is never
/// changes a bit of the result.
inline constexpr int32_t kShortRows = 16;
constexpr int32_t tall_rows(int32_t padded_dim) { return padded_dim <= 128 ? 128 : 64; }

/// kRowWarps x kKeyWarps warps. A warp computes the scores of 16 rows with its share of a block's
/// keys, and the results of the same rows in its share of the columns.
template <int kDimension, int kRowWarpCount, int kKeyWarpCount>
struct AttendShape {
  static constexpr int kDim = kDimension;  // columns of K and V, padded with zeros
  static constexpr int kRowWarps = kRowWarpCount;
  static constexpr int kKeyWarps = kKeyWarpCount;
  static constexpr int kThreads = 32 * kRowWarps * kKeyWarps;
  static constexpr int kRows = 16 * kRowWarps;
  static constexpr int kKeyTiles = kBlockKeys / 8 / kKeyWarps;    // of a warp, 8 keys each
  static constexpr int kColumnTiles = kDim / 8 / kKeyWarps;       // of a warp, 8 columns each
  static constexpr int kSumGroups = kBlockKeys / 16 / kKeyWarps;  // of a warp, see softmax.cuh
  static constexpr int kChunks = kDim / 8;                        // 16 bytes each, of a row
  // Blocks stand by unit, the KV heads of each side by side, so that those that run together read
  // neighbouring bytes; or by KV head, so that blocks that run together read the same K and V.
  static constexpr bool kHeadsTogether = kRowWarps == 1;
  static constexpr int kSlots = kDim <= 128 ? 4 : 3;  // tiles of K or V under way

  // Bytes of shared memory, from its beginning.
  static constexpr uint32_t kTileBytes = kBlockKeys * kDim * 2;
  static constexpr uint32_t kQ = 0;
  static constexpr uint32_t kTiles = kQ + kRows * kDim * 2;
  static constexpr uint32_t kWeights = kTiles + kSlots * kTileBytes;  // [row][64 keys] of 16 bits
  static constexpr uint32_t kMaxima = kWeights + kRows * kBlockKeys * 2;  // [key warp][row]
  static constexpr uint32_t kSums = kMaxima + kKeyWarps * kRows * 4;      // [sum group][row]
  static constexpr uint32_t kSources = kSums + 4 * kRows * 4;             // 4 blocks of KeySource
  static constexpr uint32_t kSharedBytes = kSources + 4 * kBlockKeys * 8;

  static_assert(kDim % 64 == 0 && kColumnTiles % 2 == 0 && kKeyTiles % 2 == 0);
  static_assert(kThreads >= 2 * kBlockKeys, "fill_sources takes two blocks at once");
};

/// Byte offset of a 16-byte chunk in rows of kRowChunks of them. Eight rows of one chunk, which
/// ldmatrix reads together, lie in different banks, and so do eight chunks of one row.
template <int kRowChunks>
constexpr uint32_t swizzled(uint32_t row, uint32_t chunk) {
  static_assert(kRowChunks % 8 == 0);
  return (row * kRowChunks + (chunk ^ (row % 8))) * 16;
}

}  // namespace attnrt::cuda
