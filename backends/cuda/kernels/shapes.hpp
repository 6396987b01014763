// SPDX-License-Identifier: Apache-2.0
// The shapes that are built, by padded head dim: one for up to 16 rows, one for more.
#pragma once

#include "backends/cuda/kernels/shape.hpp"

namespace attnrt::cuda {

/// Few rows: the four warps share the keys and columns of 16 rows.
template <int kDim>
using ShortShape = AttendShape<kDim, 1, 4>;

/// Many rows: a warp for each 16, and two where results of more than 128 columns would not fit
/// into one's registers twice, as the state of a split and the total.
template <int kDim>
struct TallShapeOf {
  using Type = AttendShape<kDim, 8, 1>;
};
template <>
struct TallShapeOf<192> {
  using Type = AttendShape<192, 4, 2>;
};
template <>
struct TallShapeOf<256> {
  using Type = AttendShape<256, 4, 2>;
};
template <int kDim>
using TallShape = typename TallShapeOf<kDim>::Type;

static_assert(ShortShape<64>::kRows == kShortRows);
static_assert(TallShape<64>::kRows == tall_rows(64) && TallShape<128>::kRows == tall_rows(128));
static_assert(TallShape<192>::kRows == tall_rows(192) && TallShape<256>::kRows == tall_rows(256));

}  // namespace attnrt::cuda
