// SPDX-License-Identifier: Apache-2.0
// What a warp does together: the arithmetic of shuffles and mma on the arguments of 32 lanes.
#pragma once

#include "backends/cuda/device/device.hpp"

namespace attnrt::test {

using cuda::device::machine::LoadMatrixArgs;
using cuda::device::machine::MmaArgs;
using cuda::device::machine::ShuffleArgs;

void simt_shuffle(ShuffleArgs* const (&lanes)[32]);

/// d += a * b of m16n8k16, products and sums in f32.
void simt_mma(MmaArgs* const (&lanes)[32], float (*to_float)(uint16_t));

/// Spreads four 8x8 matrices over the lanes; rows[m][r] holds the 16 bytes of row r of matrix m.
void simt_spread_matrices(LoadMatrixArgs* const (&lanes)[32], const uint16_t (&rows)[4][8][8],
                          bool transposed);

}  // namespace attnrt::test
