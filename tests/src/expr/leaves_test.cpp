// SPDX-License-Identifier: Apache-2.0
// Parameters, captured buffers, dot and composition.
#include <doctest/doctest.h>

#include "src/expr/graph.hpp"

namespace attnrt::expr {
namespace {

constexpr auto kF32 = ElementType::kF32;
constexpr auto kI32 = ElementType::kI32;

TEST_CASE("an empty expression says so") {
  CHECK_FALSE(Expr().valid());
  CHECK(Expr().error() == "the expression is empty");
  CHECK(q().error().empty());
}

TEST_CASE("names of slots are identifiers and not words of the language") {
  CHECK(iparam("window_2").valid());
  for (const char* name : {"", "2x", "a b", "_x", "kv", "tanh", "let", "i32", "a-b", "\xc3\xa4"}) {
    CHECK(iparam(name).error() ==
          std::string("'").append(name).append("' cannot be the name of a slot"));
    CHECK_FALSE(fparam(name).valid());
    CHECK_FALSE(buffer(name, kI32, 1)[q()].valid());
  }
}

TEST_CASE("buffers are read with as many integers as they have dimensions") {
  const Buffer bias = buffer("bias", kF32, 3);
  CHECK(bias(h(), q(), kv()).type() == Type::kFloat);
  CHECK(bias(0, q(), kv() + 1).valid());
  CHECK(buffer("flags", ElementType::kBool, 1)[q()].type() == Type::kPredicate);
  CHECK(buffer("bytes", ElementType::kI8, 1)[q()].type() == Type::kInt);
  CHECK(bias(h(), q()).error() == "buffer 'bias' of rank 3 has 2 indices");
  CHECK(bias(h(), q(), 1.5f).error() == "index 3 of 'bias' is a float: 1.5");
  CHECK(bias(h(), q(), !q()).error() == "the operand of '!' is an integer: q");
  CHECK(buffer("x", kF32, 5)(1, 2, 3, 4, 5).error() == "buffer 'x' has rank 5, not 1 to 4");
  CHECK(buffer("x", kI32, 2, Order::kSorted)(1, 2).error() ==
        "only buffers of rank 1 are sorted, not 'x'");
}

TEST_CASE("dot takes two buffers of vectors") {
  CHECK(dot(buffer("x", kF32, 2), buffer("y", ElementType::kBF16, 3)).type() == Type::kFloat);
  CHECK(dot(buffer("x", kI32, 2), buffer("y", kF32, 2)).error() ==
        "the q side of 'dot', 'x', is not a buffer of f32 or bf16");
  CHECK(dot(buffer("x", kF32, 2), buffer("y", kF32, 1)).error() ==
        "the kv side of 'dot', 'y', has rank 1, not 2 to 4");
}

TEST_CASE("then replaces the score of what follows, everywhere") {
  const Expr capped = 2.0f * tanh(score() / 2.0f);
  CHECK(then(capped, score() + q()).same(capped + q()));
  CHECK(then(capped, score() * score()).same(capped * capped));
  CHECK(then(score(), capped).same(capped));
  CHECK(then(q(), score() + 1.0f).same(to_float(q()) + 1.0f));
  CHECK(then(capped, 1.0f + q()).same(1.0f + q()));
  CHECK(then(q() < 1, score()).error() == "argument 1 of 'then' is a predicate: q < 1");
  CHECK(then(Expr(), score()).error() == "the expression is empty");
  CHECK(then(score(), !q()).error() == "the operand of '!' is an integer: q");
}

}  // namespace
}  // namespace attnrt::expr
