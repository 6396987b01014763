// SPDX-License-Identifier: Apache-2.0
// Linear forms of integer nodes.
#include <doctest/doctest.h>

#include <string>

#include "src/expr/recognise.hpp"

namespace attnrt::expr {
namespace {

// The form of an integer expression: the left operand of a comparison that compiles as a mask.
std::optional<Linear> linear(const Expr& x) {
  MaskProgram program;
  REQUIRE(compile_mask(x < b(), program).ok());
  const ProgramData& data = *program.data();
  return linear_forms(data)[size_t(data.nodes.back().operands[0])];
}

void check(const Expr& x, const Linear& expected) {
  const std::optional<Linear> found = linear(x);
  REQUIRE_MESSAGE(found.has_value(), to_string(x));
  CHECK_MESSAGE(found->q == expected.q, to_string(x));
  CHECK_MESSAGE(found->kv == expected.kv, to_string(x));
  CHECK_MESSAGE(found->constant == expected.constant, to_string(x));
  CHECK_MESSAGE(found->slot == expected.slot, to_string(x));
  CHECK_MESSAGE(found->sign == expected.sign, to_string(x));
}

TEST_CASE("sums, differences and products with literals are linear") {
  const Expr w = iparam("w");
  check(q(), {.q = 1});
  check(q() - 2 * kv() + 7, {.q = 1, .kv = -2, .constant = 7});
  check(-(q() - 3), {.q = -1, .constant = 3});
  check(q() - (w - 1), {.q = 1, .constant = 1, .slot = 0, .sign = -1});
  check(w + q() - w, {.q = 1});
  check((q() + kv()) * 3 - q() * 3, {.kv = 3});
  check(q() * 0 + kv(), {.kv = 1});
}

TEST_CASE("anything else is not, nor what could wrap") {
  for (const Expr& x : {q() * kv(), q() + b(), abs(q()), min(q(), 3), floordiv(q(), 1), q() << 1,
                        iparam("v") + iparam("w"), q() * 257, q() * 16 * 17,
                        (q() + kMaxInt) * 256 * 256, h() + 0 * q()}) {
    CHECK_MESSAGE(!linear(x).has_value(), to_string(x));
  }
}

}  // namespace
}  // namespace attnrt::expr
