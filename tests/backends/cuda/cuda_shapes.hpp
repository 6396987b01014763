// SPDX-License-Identifier: Apache-2.0
// Problems that the CUDA backend takes.
#pragma once

#include <algorithm>

#include "tests/support/problem.hpp"

namespace attnrt::test {

/// Changes what the backend refuses by name: other dtypes of q, packed16, MLA.
inline void adapt_to_cuda(ProblemShape& shape) {
  shape.q_dtype = shape.kv_dtype;
  if (shape.layout == KvLayout::kPacked16) shape.layout = KvLayout::kNHD;
  shape.mla = false;
  shape.spec.head_dim = std::min(shape.spec.head_dim, 256);
  shape.spec.head_dim_v = std::min(shape.spec.head_dim_v, 256);
}

}  // namespace attnrt::test
