// SPDX-License-Identifier: Apache-2.0
// Problems that the CUDA backend takes, and expressions that its tests ask for through calls.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "tests/support/problem.hpp"

namespace attnrt::test {

inline constexpr const char* kDeviceMasks[] = {"i32 doc[]; doc[q] == doc[kv] && kv <= q",
                                               "kv % 5 != h"};
inline constexpr const char* kDeviceScores[] = {"f32 slopes[]; score - slopes[h] * abs(q - kv)",
                                                "3.0 * tanh(score) + 0.125 * (h + 1)"};

/// Changes what the backend refuses by name: other dtypes of q, packed16, MLA.
inline void adapt_to_cuda(ProblemShape& shape) {
  shape.q_dtype = shape.kv_dtype;
  if (shape.layout == KvLayout::kPacked16) shape.layout = KvLayout::kNHD;
  shape.mla = false;
  shape.spec.head_dim = std::min(shape.spec.head_dim, 256);
  shape.spec.head_dim_v = std::min(shape.spec.head_dim_v, 256);
}

/// Causal, 4 heads on 2, of one dtype throughout.
inline ProblemShape causal_shape(DType dtype, int32_t dim, std::vector<SequenceShape> sequences) {
  ProblemShape shape;
  shape.spec.num_heads_q = 4;
  shape.spec.num_heads_kv = 2;
  shape.spec.head_dim = dim;
  shape.spec.causal = true;
  shape.q_dtype = shape.kv_dtype = shape.out_dtype = dtype;
  shape.sequences = std::move(sequences);
  return shape;
}

}  // namespace attnrt::test
