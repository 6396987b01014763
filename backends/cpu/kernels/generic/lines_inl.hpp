// SPDX-License-Identifier: Apache-2.0
// A block of K and V as the register tiles read it: lines, each holding 16 columns (keys for K,
// head dims for V) at one step of the reduction (dims for K, keys for V). These are the bytes of
// packed16 pages, so such pages are read where they are; other layouts are packed into scratch in
// the same form.
#pragma once

#include "backends/cpu/kernels/generic/simd_inl.hpp"

namespace attnrt::cpu {
namespace {

// Columns of a line, and keys of a piece: K and V are found 16 keys at a time.
constexpr int32_t kLineColumns = 16;
constexpr int32_t kPieces = kBlockKeys / kLineColumns;

// Elements of a line.
template <class Lines>
constexpr int64_t line_elements() {
  return int64_t{kLineColumns} * Lines::kInterleave;
}

// Vectors of a line's 16 columns.
template <class Isa>
constexpr int parts() {
  return kLineColumns / Isa::kLanes;
}

// One block of one KV head. Piece i is keys [16 i, 16 i + 16): k[i] is its first line, lines of
// ascending dim follow; v[i] is its first line for dims [0, 16), lines of ascending key follow, and
// dims [16 j, 16 j + 16) stand v_stride * j elements further.
template <class Lines>
struct KvBlock {
  const typename Lines::Stored* k[kPieces];
  const typename Lines::Stored* v[kPieces];
  int64_t v_stride;
};

}  // namespace
}  // namespace attnrt::cpu
