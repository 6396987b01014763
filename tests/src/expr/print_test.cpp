// SPDX-License-Identifier: Apache-2.0
// to_string: what it writes, and that parse(to_string(e)) is the same node for whatever can be
// built.
#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "src/expr/graph.hpp"
#include "tests/src/expr/catalogue_masks.hpp"
#include "tests/src/expr/catalogue_scores.hpp"
#include "tests/src/expr/random_expression.hpp"

namespace attnrt::expr {
namespace {

bool round_trips(const Expr& expression) {
  Expr again;
  const std::string text = to_string(expression);
  const Status status = parse(text, again);
  CHECK_MESSAGE(status.ok(), text << ": " << status.message());
  return again.same(expression);
}

TEST_CASE("text is what a person would write") {
  const Buffer doc = buffer("doc", ElementType::kI32, 1);
  const Buffer bias = buffer("bias", ElementType::kBF16, 2);
  CHECK(to_string(kv() <= q() && q() - kv() < iparam("window")) == "kv <= q && q - kv < window");
  CHECK(to_string(q() >= kv()) == "kv <= q");
  CHECK(to_string(!(doc[q()] == doc[kv()])) == "!(doc[q] == doc[kv])");
  CHECK(to_string(q() - (kv() - 3)) == "q - (kv - 3)");
  CHECK(to_string(q() - kv() - 3) == "q - kv - 3");
  CHECK(to_string((q() + 1) * -2) == "(q + 1) * -2");
  CHECK(to_string(-(-q())) == "-(-q)");
  CHECK(to_string(50.0f * tanh(score() / 50.0f)) == "50.0 * tanh(score / 50.0)");
  CHECK(to_string(fparam("cap") * score()) == "float cap; cap * score");
  CHECK(to_string(score() + bias(h(), q())) == "bf16 bias[,]; score + bias[h, q]");
  CHECK(to_string(buffer("s", ElementType::kI32, 1, Order::kSorted)[q()] == 1) ==
        "sorted i32 s[]; s[q] == 1");
  CHECK(to_string(score() * 0.1f) == "score * 0.1");
  CHECK(to_string(select(q() < 1, 0.0, -std::numeric_limits<float>::infinity())) ==
        "select(q < 1, 0.0, -inf)");
}

TEST_CASE("literals keep their type and bits") {
  for (const float x :
       {0.0f, -0.0f, 1.0f, -1.5e-30f, 3.4e38f, 1e-45f, 16777216.0f,
        std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    CHECK(round_trips(score() + x));
    CHECK(round_trips(x - score()));
    CHECK(round_trips(-(score() * x)));
  }
  for (const int64_t x : {int64_t{0}, int64_t{-1}, kMaxInt, -kMaxInt}) {
    CHECK(round_trips(q() - x < kv()));
    CHECK(round_trips(Expr(x) << q() < kv()));
  }
  CHECK_FALSE((score() + 0.0f).same(score() + -0.0f));
  CHECK_FALSE((q() + 1).same(q() + 1.0f));
}

TEST_CASE("the catalogue round-trips") {
  for (const auto& c : catalogue::masks()) {
    Expr expression;
    const Status status = parse(c.text, expression);
    REQUIRE_MESSAGE(status.ok(), c.name << ": " << status.message());
    CHECK_MESSAGE(round_trips(expression), c.name);
  }
  for (const auto& c : catalogue::scores()) {
    Expr expression;
    const Status status = parse(c.text, expression);
    REQUIRE_MESSAGE(status.ok(), c.name << ": " << status.message());
    CHECK_MESSAGE(round_trips(expression), c.name);
  }
}

TEST_CASE("10,000 random expressions round-trip") {
  RandomExpressions random(20260801);
  int same = 0;
  int shared = 0;
  for (int i = 0; i < 10000; ++i) {
    const Expr expression = i % 2 == 0 ? random.mask(2 + i % 13) : random.score(2 + i % 13);
    REQUIRE(expression.valid());
    shared += to_string(expression).starts_with("let ") ||
              to_string(expression).find("; let ") != std::string::npos;
    Expr again;
    if (parse(to_string(expression), again).ok() && again.same(expression)) ++same;
  }
  CHECK(same == 10000);
  CHECK(shared > 20);  // some were large enough for lets
}

TEST_CASE("the text of a graph with 2^100 paths is short, and so is a message about it") {
  Expr x = q();
  for (int i = 0; i < 100; ++i) x = x + x * kv();
  const std::string text = to_string(x < 3);
  CHECK(text.size() < 6000);
  CHECK(round_trips(x < 3));
  const std::string message = (x && (q() < kv())).error();
  CHECK(message.starts_with("the left side of '&&' is an integer: "));
  CHECK(message.size() < 110);
}

TEST_CASE("a mistake has a text too") {
  CHECK(to_string(Expr()) == "error: the expression is empty");
  CHECK(to_string(!q()) == "error: the operand of '!' is an integer: q");
}

}  // namespace
}  // namespace attnrt::expr
