// SPDX-License-Identifier: Apache-2.0
// Scores of one row against one block of keys: scaled, masked, exponentiated against the
// row's running maximum. Everything here is decided by the row alone.
//
// Cost: about 14 instructions per vector of scores and 25 per row, 6% of D = 128 arithmetic.
#pragma once

#include "backends/cpu/kernels/generic/simd_inl.hpp"

namespace attnrt::cpu {
namespace {

alignas(64) constexpr float kLaneNumbers[kBlockKeys] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

// What one row is, for one block.
struct RowBlock {
  int32_t first, last;  // lanes of the block that the row sees
  float distance;       // logical position of the row less that of lane 0
  float slope;          // ALiBi
};

// A row's state: sums are kept per lane until the split ends.
struct RowState {
  float* lane_sums;
  float* ref;
  float* rescale;
};

// Scale, soft cap and ALiBi, in natural units.
template <class Isa>
inline typename Isa::Vec natural_score(const AttendTask& task, const RowBlock& row,
                                       typename Isa::Vec s, int lane) {
  using Vec = typename Isa::Vec;
  s = s * Vec(task.scale);
  if (task.softcap > 0.0f) s = Vec(task.softcap) * tanh<Isa>(s / Vec(task.softcap));
  if (task.alibi != nullptr) {
    const Vec distance = xsimd::abs(Vec(row.distance) - Vec::load_aligned(kLaneNumbers + lane));
    s = Isa::fma(Vec(-row.slope), distance, s);
  }
  return s;
}

// Turns 64 scores into p = e^(s - ref), in place. The factor log2(e) comes after the subtraction:
// the rounding of s * log2(e) alone would be 6e-4 of p at |s| = 5e4, where the plain computation is
// exact. A block without visible keys leaves the state as it is and p = 0; ref = -inf
// then stands for "nothing seen yet" and 0 is used in its place, so that -inf - -inf never
// happens. NaN scores give NaN p, and through the sum a NaN row.
template <class Isa, class Kv>
inline void softmax_block(const AttendTask& task, const RowBlock& row, float* scores,
                          const RowState& state) {
  using Vec = typename Isa::Vec;
  constexpr int kLanes = Isa::kLanes;
  constexpr int kVectors = kBlockKeys / kLanes;
  const bool plain = !(task.softcap > 0.0f) && task.alibi == nullptr;
  Vec s[kVectors];
  if (plain) {
    const Vec scale(task.scale);
    for (int i = 0; i < kVectors; ++i) s[i] = Vec::load_aligned(scores + i * kLanes) * scale;
  } else {
    for (int i = 0; i < kVectors; ++i) {
      s[i] = natural_score<Isa>(task, row, Vec::load_aligned(scores + i * kLanes), i * kLanes);
    }
  }
  if (row.first > 0 || row.last < kBlockKeys) {
    const Vec first(static_cast<float>(row.first));
    const Vec last(static_cast<float>(row.last));
    for (int i = 0; i < kVectors; ++i) {
      const Vec lane = Vec::load_aligned(kLaneNumbers + i * kLanes);
      s[i] = xsimd::select(lane >= first && lane < last, s[i], Vec(-kInfinity));
    }
  }
  Vec largest = s[0];
  for (int i = 1; i < kVectors; ++i) largest = xsimd::max(largest, s[i]);
  const float block_max = Isa::reduce_max(largest);
  const float old_ref = *state.ref;
  float rescale = 1.0f;
  if (block_max > old_ref) {  // false for NaN
    rescale = exp_scalar<Isa>(old_ref - block_max);
    *state.ref = block_max;
  }
  *state.rescale = rescale;
  const Vec ref(*state.ref == -kInfinity ? 0.0f : *state.ref);
  Vec sum = Vec::load_aligned(state.lane_sums) * Vec(rescale);
  for (int i = 0; i < kVectors; ++i) {
    const Vec x = s[i] - ref;
    // 16-bit K and V are coarser than what the shorter form loses.
    const Vec p = sizeof(typename Kv::Stored) == 4 ? Isa::exp(x) : Isa::exp2(x * Vec(kLog2E));
    sum = sum + p;
    p.store_aligned(scores + i * kLanes);
  }
  sum.store_aligned(state.lane_sums);
}

}  // namespace
}  // namespace attnrt::cpu
