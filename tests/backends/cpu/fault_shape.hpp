// SPDX-License-Identifier: Apache-2.0
// The small problem that fault tests spoil.
#pragma once

#include <cstdint>

#include "tests/support/check.hpp"

namespace attnrt {

/// One sequence, 4 query heads on 2 KV heads of 24.
inline test::ProblemShape shape_of(int32_t q_len, int32_t kv_len, DType kv_dtype = DType::kF32) {
  test::ProblemShape shape;
  shape.spec.num_heads_q = 4;
  shape.spec.num_heads_kv = 2;
  shape.spec.head_dim = 24;
  shape.kv_dtype = kv_dtype;
  shape.sequences = {{q_len, kv_len}};
  return shape;
}

}  // namespace attnrt
