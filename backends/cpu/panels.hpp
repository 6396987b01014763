// SPDX-License-Identifier: Apache-2.0
// Matrix products of whole panels of rows, done by a library, as kernels see them. Plain data only:
// kernel files, compiled under other -m flags, include this.
#pragma once

#include <cstddef>
#include <cstdint>

namespace attnrt::cpu {

/// Rows of every product, whatever the number of rows at hand. A library chooses its code by the
/// shape, so one shape for all calls keeps a row's bits apart from the rows beside it.
inline constexpr int32_t kPanelRows = 48;

/// Bytes of a line of B: 16 columns at one step of the sum (f32), or at two, turn about (bf16).
inline constexpr int32_t kPanelLineBytes = 64;

/// C = A x B. A is [kPanelRows][steps], C [kPanelRows][columns] of f32, both row-major without
/// gaps; B stands as lines, wherever the library wants them.
struct PanelProduct {
  std::byte* b = nullptr;            // 64-byte aligned; what is no line of it must stay as it is
  const int32_t* line_at = nullptr;  // [lines of steps][columns / 16]: in lines from b
  void (*multiply)(void* call, const void* a, float* c) noexcept = nullptr;
  void* call = nullptr;
};

/// What one worker has: both products of attention with a block of keys, and memory for them.
struct PanelProducts {
  PanelProduct scores;      // q [kPanelRows][dim] x K [dim][kBlockKeys]
  PanelProduct values;      // p [kPanelRows][kBlockKeys] x V [kBlockKeys][dim_v]
  void* weights = nullptr;  // p, for the kernel to fill
  float* sums = nullptr;    // [kPanelRows][dim_v], for the kernel to use
};

}  // namespace attnrt::cpu
