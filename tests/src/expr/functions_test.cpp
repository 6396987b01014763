// SPDX-License-Identifier: Apache-2.0
// The vocabulary of the text form agrees with how operations are written.
#include "src/expr/functions.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "src/expr/graph.hpp"

namespace attnrt::expr {
namespace {

TEST_CASE("every operation that is written as a call can be called") {
  int calls = 0;
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& op = info(static_cast<Op>(i));
    if (op.notation != Notation::kCall || static_cast<Op>(i) == Op::kDot) continue;
    CHECK_MESSAGE(arity(op.text) == op.num_operands, op.text);
    std::vector<Expr> operands(size_t(op.num_operands), q());
    if (static_cast<Op>(i) == Op::kSelect) operands = {q() < kv(), q(), kv()};
    const auto made = build_call(op.text, operands);
    REQUIRE_MESSAGE(made.has_value(), op.text);
    CHECK_MESSAGE(made->node()->op == static_cast<Op>(i), op.text);
    ++calls;
  }
  CHECK(calls == 20);
}

TEST_CASE("every operation that stands between its operands binds as in C++") {
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& op = info(static_cast<Op>(i));
    if (op.notation == Notation::kInfix)
      CHECK_MESSAGE(precedence(op.text) == op.precedence, op.text);
  }
  CHECK(precedence("||") < precedence("&&"));
  CHECK(precedence("&&") < precedence("|"));
  CHECK(precedence("&") < precedence("=="));
  CHECK(precedence("==") < precedence("<"));
  CHECK(precedence("<") < precedence("<<"));
  CHECK(precedence("<<") < precedence("+"));
  CHECK(precedence("+") < precedence("//"));
  CHECK(precedence("=") == 0);
}

TEST_CASE("every leaf is a word") {
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& op = info(static_cast<Op>(i));
    if (op.notation != Notation::kName) continue;
    REQUIRE(word(op.text).has_value());
    CHECK(word(op.text)->node()->op == static_cast<Op>(i));
  }
  CHECK(word("true")->same(true));
  CHECK_FALSE(word("window").has_value());
}

TEST_CASE("what is no function says why") {
  CHECK(arity("softmax") == -1);
  CHECK(why_not("softmax") ==
        "'softmax' is a reduction over a row, which expressions do not offer");
  CHECK(why_not("while") == "'while': loops and statements are not offered");
  CHECK(why_not("scatter") == "'scatter': writes are not offered");
  CHECK(why_not("frob") == "'frob' is not a function");
}

}  // namespace
}  // namespace attnrt::expr
