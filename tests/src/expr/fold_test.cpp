// SPDX-License-Identifier: Apache-2.0
// Folding: what becomes a literal or disappears, and that the value never changes.
#include "src/expr/fold.hpp"

#include <doctest/doctest.h>

#include <limits>

namespace attnrt::expr {
namespace {

TEST_CASE("literals of integers are folded while they fit") {
  CHECK((Expr(2) + 3).same(5));
  CHECK((Expr(2) - 3).same(-1));
  CHECK((Expr(2) * -3).same(-6));
  CHECK((-Expr(2)).same(-2));
  CHECK(min(Expr(2), 3).same(2));
  CHECK(max(Expr(2), 3).same(3));
  CHECK(to_float(7).same(7.0f));
  CHECK((q() - (Expr(8) - 1)).same(q() - 7));
  CHECK((Expr(kMaxInt) + 1).node()->op == Op::kAdd);
  CHECK((Expr(kMaxInt) * kMaxInt).node()->op == Op::kMul);
  CHECK(floordiv(7, 2).node()->op == Op::kFloorDiv);
}

TEST_CASE("of floats only the sign is folded: rounding belongs to the machines") {
  CHECK((-Expr(1.5f)).same(-1.5f));
  CHECK((-Expr(0.0f)).same(-0.0f));
  CHECK((Expr(0.5f) + 0.25f).node()->op == Op::kAdd);
  CHECK((score() + 0.0f).node()->op == Op::kAdd);  // -0.0 + 0.0 is 0.0
  CHECK((score() * 1.0f).node()->op == Op::kMul);
}

TEST_CASE("trivial predicates disappear") {
  const Expr p = kv() <= q();
  const Expr r = b() < 3;
  CHECK((p && true).same(p));
  CHECK((true && p).same(p));
  CHECK((p && false).same(false));
  CHECK((false && p).same(false));
  CHECK((p && p).same(p));
  CHECK((p || false).same(p));
  CHECK((false || p).same(p));
  CHECK((p || true).same(true));
  CHECK((true || p).same(true));
  CHECK((p || p).same(p));
  CHECK((p ^ false).same(p));
  CHECK((false ^ p).same(p));
  CHECK((p ^ true).same(!p));
  CHECK((true ^ p).same(!p));
  CHECK((!!p).same(p));
  CHECK((!Expr(true)).same(false));
  CHECK(select(true, q(), kv()).same(q()));
  CHECK(select(false, q(), kv()).same(kv()));
  CHECK(select(p, q(), q()).same(q()));
  CHECK((p && r).node()->op == Op::kAnd);
  CHECK((p && !p).node()->op == Op::kAnd);
  CHECK(select(p, true, false).node()->op == Op::kSelect);
}

}  // namespace
}  // namespace attnrt::expr
