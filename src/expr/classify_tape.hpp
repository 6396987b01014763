// SPDX-License-Identifier: Apache-2.0
// A mask as the classifier runs it: straight-line steps in a normal form that keeps precision over
// tiles, sorted by what they change with.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "src/expr/program.hpp"

namespace attnrt::expr {

/// A step's number, times two; for predicates plus one where the value is negated.
using Ref = int32_t;

constexpr size_t step_of(Ref ref) { return static_cast<size_t>(ref >> 1); }
constexpr bool negated(Ref ref) { return (ref & 1) != 0; }

/// Operations are those of the graph. kLessEqual and kEqual with `sum` compare
/// operands[0] + operands[1] + operands[2] (absent: -1) with the literal: the terms of q, of kv and
/// of both stand apart, so that each is exact at the ends of its own range.
struct TapeStep {
  Op op = Op::kLiteral;
  Type type = Type::kInt;  // of the operands of a comparison, else of the result
  Rank rank = Rank::kScalar;
  bool sum = false;
  bool kv_negated = false;  // sum: operands[1] is subtracted
  bool wants_bits = false;  // someone asks which bits are known
  uint8_t ends_unless = 0;  // a Truth: where the step cannot be that, the mask is false
  int32_t slot = -1;
  std::array<Ref, kMaxOperands> operands{-1, -1, -1, -1};
  Literal literal;

  [[nodiscard]] bool operator<(const TapeStep& other) const;
};

/// Conjuncts have a bit each in sets of them; the last bit stands for all beyond.
inline constexpr size_t kConjunctBits = 64;
constexpr uint64_t conjunct_bit(size_t conjunct) {
  return uint64_t{1} << (conjunct < kConjunctBits ? conjunct : kConjunctBits - 1);
}

struct ClassifyTape {
  std::vector<TapeStep> steps;
  std::array<std::vector<int32_t>, 4> order;  // live steps by Rank
  Ref result = 0;
  std::vector<int32_t> conjuncts;     // nodes of the program whose conjunction is the mask
  std::vector<Ref> conjunct_results;  // of each
  uint8_t depends = 0;
};

ClassifyTape make_tape(const ProgramData& program);

}  // namespace attnrt::expr
