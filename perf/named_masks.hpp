// SPDX-License-Identifier: Apache-2.0
// Masks and scores by name, with tables made for a length: what `--mask` and `--score` take.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "attnrt/expr.hpp"

namespace attnrt::perf {

/// A captured table of a named mask or score, row-major.
struct NamedTable {
  std::string slot;
  expr::ElementType element = expr::ElementType::kI32;
  std::vector<int64_t> shape;
  std::vector<int32_t> ints;  // kI32
  std::vector<int8_t> bools;  // kBool
  std::vector<float> floats;  // kF32
};

/// The text of a mask or score and the values of its slots.
struct NamedExpr {
  std::string name;  // or the text
  std::string text;
  std::deque<NamedTable> tables;
  std::vector<std::pair<std::string, int64_t>> ints;
  std::vector<std::pair<std::string, float>> floats;

  /// Borrows the tables.
  [[nodiscard]] std::vector<expr::SlotValue> values() const;
};

/// What their tables are made for.
struct NamedShape {
  int32_t tokens = 0;  // of a sequence, at least 64
  int32_t heads = 1;   // of q; masks have no use for it
};

/// The mask `name` for sequences of shape.tokens, the same in every run; a name that is not of the
/// catalogue is the text of an expression without slots. Throws BadInput, one line, for what is
/// neither.
NamedExpr named_mask(std::string_view name, const NamedShape& shape);
NamedExpr named_score(std::string_view name, const NamedShape& shape);

/// Of the catalogues, in the order in which help and messages print them.
std::vector<std::string> mask_names();
std::vector<std::string> score_names();

/// The twelve masks of the FlashMask paper, which `flashmask` stands for in lists.
std::vector<std::string> flash_mask_names();

/// The items between commas that stand outside brackets, `flashmask` replaced by what it stands
/// for. Throws BadInput where one is empty.
std::vector<std::string> split_expressions(std::string_view option, std::string_view text);

}  // namespace attnrt::perf
