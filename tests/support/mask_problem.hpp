// SPDX-License-Identifier: Apache-2.0
// Masks of the catalogue as problems of attend.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tests/support/mask_catalogue.hpp"
#include "tests/support/problem.hpp"

namespace attnrt::test {

/// The mask's tables, and at most `q_len` query tokens, its last ones, of its sequence, which
/// stands at its index of the batch.
inline void put_sequence(const testing::MaskCase& mask, int32_t q_len, ProblemShape& shape) {
  shape.mask_values = mask.values();
  for (int32_t b = 0; b < mask.b; ++b) shape.sequences.push_back({.q_len = 0, .kv_len = 0});
  const int32_t tokens = std::min(q_len, mask.q_len);
  shape.sequences.push_back(
      {.q_len = tokens, .kv_len = mask.kv_len, .q_start = mask.q_begin + mask.q_len - tokens});
}

}  // namespace attnrt::test
