// SPDX-License-Identifier: Apache-2.0
// The operators: what they accept, what they make of it, and what they say about a mistake.
#include <doctest/doctest.h>

#include <string>

#include "src/expr/graph.hpp"

namespace attnrt::expr {
namespace {

Expr tokens() { return buffer("tokens", ElementType::kI32, 1)[q()]; }

TEST_CASE("types follow the operands") {
  CHECK((q() + kv()).type() == Type::kInt);
  CHECK((q() + 1.0f).type() == Type::kFloat);
  CHECK((1 + score()).type() == Type::kFloat);
  CHECK((q() < kv()).type() == Type::kPredicate);
  CHECK((q() < 2.5).type() == Type::kPredicate);
  CHECK(exp(q()).type() == Type::kFloat);
  CHECK((q() / 2.0f).type() == Type::kFloat);
  CHECK(select(q() < 1, 1, 2).type() == Type::kInt);
  CHECK(select(q() < 1, 1, 2.0f).type() == Type::kFloat);
  CHECK(select(q() < 1, kv() < 1, true).type() == Type::kPredicate);
  CHECK((q() & 3).type() == Type::kInt);
  CHECK(((q() < 3) & (kv() < 3)).type() == Type::kPredicate);
  CHECK((~q()).type() == Type::kInt);
  CHECK((~(q() < 3)).type() == Type::kPredicate);
}

TEST_CASE("an integer beside a float becomes one") {
  CHECK((score() + q()).same(score() + to_float(q())));
  CHECK((score() * 2).same(score() * 2.0f));
  CHECK(to_float(score()).same(score()));
  CHECK((q() <= 2.5f).same(to_float(q()) <= 2.5f));
  CHECK(max(q(), 0.5f).same(max(to_float(q()), 0.5f)));
}

TEST_CASE("spellings of one thing are one node") {
  const Expr near = q() - kv() < 4;
  const Expr causal = kv() <= q();
  CHECK((causal & near).same(causal && near));
  CHECK((causal | near).same(causal || near));
  CHECK((~causal).same(!causal));
  CHECK((q() > kv()).same(kv() < q()));
  CHECK((q() >= kv()).same(kv() <= q()));
  CHECK((q() % 4).same(floormod(q(), 4)));
  CHECK((~q()).same(q() ^ -1));
  CHECK((causal != near).same(causal ^ near));
  CHECK((causal == near).same(!(causal ^ near)));
  CHECK(clamp(q(), 1, 4).same(min(max(q(), 1), 4)));
}

TEST_CASE("literals of every C++ type") {
  CHECK((q() + 3).same(q() + int64_t{3}));
  CHECK((q() + 3).same(q() + size_t{3}));
  CHECK((q() + 3).same(q() + uint16_t{3}));
  CHECK((score() * 0.1f).same(score() * 0.1));
  CHECK((q() + (int64_t{1} << 41)).error() == "the integer 2199023255552 is beyond 2^40");
  CHECK((q() + UINT64_MAX).error() == "the integer 9223372036854775807 is beyond 2^40");
}

struct Mistake {
  Expr expression;
  const char* message;
};

TEST_CASE("mistakes name the operation and the operand") {
  const Expr causal = kv() <= q();
  const Mistake mistakes[] = {
      {causal && score() * 2.0, "the right side of '&&' is a float: score * 2.0"},
      {q() && causal, "the left side of '&&' is an integer: q"},
      {causal + 1, "the left side of '+' is a predicate: kv <= q"},
      {1 - causal, "the right side of '-' is a predicate: kv <= q"},
      {-causal, "the operand of '-' is a predicate: kv <= q"},
      {!tokens(), "the operand of '!' is an integer: tokens[q]"},
      {~score(), "the operand of '~' is a float: score"},
      {causal < q(), "the left side of '<' is a predicate: kv <= q"},
      {q() > causal, "the right side of '>' is a predicate: kv <= q"},
      {causal == q(), "the left side of '==' is a predicate: kv <= q"},
      {q() % 2.0, "the right side of '%' is a float: 2.0"},
      {floordiv(score(), 2), "argument 1 of 'floordiv' is a float: score"},
      {q() << 1.0, "the right side of '<<' is a float: 1.0"},
      {causal & q(), "the right side of '&' is an integer: q"},
      {q() & causal, "the right side of '&' is a predicate: kv <= q"},
      {score() | 1, "the left side of '|' is a float: score"},
      {exp(causal), "argument 1 of 'exp' is a predicate: kv <= q"},
      {fma(1, 2, causal), "argument 3 of 'fma' is a predicate: kv <= q"},
      {clamp(q(), 1, causal), "argument 3 of 'clamp' is a predicate: kv <= q"},
      {select(q(), 1, 2), "argument 1 of 'select' is an integer: q"},
      {select(causal, 1, causal), "argument 3 of 'select' is a predicate: kv <= q"},
      {select(causal, causal, 1), "argument 3 of 'select' is an integer: 1"},
      {q() / kv(), "both sides of '/' are integers: use floordiv, or to_float: q / kv"},
      {q() / causal, "the right side of '/' is a predicate: kv <= q"},
      {pow(causal, 2), "argument 1 of 'pow' is a predicate: kv <= q"},
      {to_float(causal), "argument 1 of 'to_float' is a predicate: kv <= q"},
      {q() + Expr(), "the right side of '+' is an empty expression"},
      {(q() && causal) || q(), "the left side of '&&' is an integer: q"},
  };
  for (const Mistake& m : mistakes) {
    CHECK_FALSE(m.expression.valid());
    CHECK(m.expression.error() == m.message);
  }
}

}  // namespace
}  // namespace attnrt::expr
