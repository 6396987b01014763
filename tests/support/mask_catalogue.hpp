// SPDX-License-Identifier: Apache-2.0
// The masks people use, as data: text, tables and shapes. Every machine that handles masks is
// tested over all of them.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/expr.hpp"

namespace attnrt::testing {

struct MaskTable {
  std::string name;
  expr::ElementType element = expr::ElementType::kI32;
  std::vector<int64_t> shape;
  std::vector<int32_t> ints;  // kI32
  std::vector<int8_t> bytes;  // kI8, kBool
  std::vector<float> floats;  // kF32
};

struct MaskCase {
  std::string name;
  std::string text;
  int32_t q_begin = 0;
  int32_t q_len = 0;
  int32_t kv_len = 0;
  int32_t num_heads = 1;
  int32_t b = 0;
  std::deque<MaskTable> tables;
  std::vector<std::pair<std::string, int64_t>> ints;

  /// Borrows the tables.
  [[nodiscard]] std::vector<expr::SlotValue> values() const;
};

/// All masks for sequences of about `tokens` tokens, a power of two of at least 256. Constants
/// scale with it.
std::vector<MaskCase> mask_catalogue(int32_t tokens);

}  // namespace attnrt::testing
