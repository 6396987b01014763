// SPDX-License-Identifier: Apache-2.0
// Programs: their layout, what they refuse, and how long compiling takes.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "src/expr/program.hpp"
#include "tests/src/expr/catalogue_masks.hpp"
#include "tests/src/expr/catalogue_scores.hpp"
#include "tests/src/expr/random_expression.hpp"

namespace attnrt::expr {
namespace {

std::string mask_mistake(const Expr& expression) {
  MaskProgram program;
  const Status status = compile_mask(expression, program);
  CHECK(status.code() == Code::kInvalidArgument);
  CHECK_FALSE(program.valid());
  return status.message();
}

std::string score_mistake(const Expr& expression) {
  ScoreProgram program;
  const Status status = compile_score(expression, program);
  CHECK(status.code() == Code::kInvalidArgument);
  CHECK_FALSE(program.valid());
  return status.message();
}

Rank rank_of(const ProgramData& program, Op op) {
  const auto found = std::ranges::find(program.nodes, op, &ProgramNode::op);
  REQUIRE(found != program.nodes.end());
  return found->rank;
}

TEST_CASE("a program is its graph in topological order, each node once") {
  RandomExpressions random(5);
  for (int i = 0; i < 200; ++i) {
    const Expr mask = random.mask(8);
    MaskProgram program;
    REQUIRE(compile_mask(mask, program).ok());
    const ProgramData& data = *program.data();
    CHECK(data.source.same(mask));
    CHECK(data.nodes.back().op == mask.node()->op);
    CHECK(data.depends == mask.node()->depends);
    for (size_t n = 0; n < data.nodes.size(); ++n) {
      for (int k = 0; k < kMaxOperands; ++k) {
        const int32_t operand = data.nodes[n].operands[size_t(k)];
        if (k < data.nodes[n].num_operands) CHECK((operand >= 0 && operand < int32_t(n)));
        if (k >= data.nodes[n].num_operands) CHECK(operand == -1);
      }
    }
  }
}

TEST_CASE("nodes are ranked by what they vary with") {
  MaskProgram mask;
  const Buffer doc = buffer("doc", ElementType::kI32, 1);
  REQUIRE(compile_mask(kv() << 1 <= q() * 2 && floordiv(h(), 2) == iparam("head"), mask).ok());
  CHECK(rank_of(*mask.data(), Op::kShiftLeft) == Rank::kColumn);
  CHECK(rank_of(*mask.data(), Op::kMul) == Rank::kRow);
  CHECK(rank_of(*mask.data(), Op::kFloorDiv) == Rank::kScalar);
  CHECK(rank_of(*mask.data(), Op::kLessEqual) == Rank::kElement);
  CHECK(rank_of(*mask.data(), Op::kParam) == Rank::kScalar);
  CHECK(mask.uses_head());
  CHECK_FALSE(mask.uses_batch());

  ScoreProgram score;
  REQUIRE(compile_score(expr::score() * exp(q()), score).ok());
  CHECK(rank_of(*score.data(), Op::kExp) == Rank::kRow);
  CHECK(rank_of(*score.data(), Op::kScore) == Rank::kElement);
  CHECK(score.uses_score());
  CHECK_FALSE(score.uses_head());
  REQUIRE(compile_score(to_float(kv() - q_len()), score).ok());
  CHECK_FALSE(score.uses_score());
  CHECK(score.uses_batch());
}

TEST_CASE("slots are listed once, in order of first use") {
  MaskProgram program;
  const Buffer doc = buffer("doc", ElementType::kI32, 1, Order::kSorted);
  REQUIRE(compile_mask(doc[q()] == doc[kv()] && q() - kv() < iparam("w"), program).ok());
  REQUIRE(program.slots().size() == 2);
  CHECK(program.slots()[0] == doc.slot());
  CHECK(program.slots()[1] == Slot{.name = "w"});
}

TEST_CASE("what is no mask or score is refused by its text") {
  const Expr causal = kv() <= q();
  CHECK(mask_mistake(Expr()) == "the expression is empty");
  CHECK(mask_mistake(q() - kv()) == "a mask is a predicate, this is an integer: q - kv");
  CHECK(mask_mistake(causal && score() * 2.0) == "the right side of '&&' is a float: score * 2.0");
  CHECK(mask_mistake(causal && abs(score()) * 2.0 > 1.0) ==
        "a mask cannot depend on the score: abs(score)");
  CHECK(score_mistake(causal) == "a score is a float, this is a predicate: kv <= q");
  CHECK(score_mistake(score() + causal) == "the right side of '+' is a predicate: kv <= q");
  const Buffer x = buffer("x", ElementType::kF32, 2);
  CHECK(mask_mistake(dot(x, x) > 0.5) == "a mask cannot contain 'dot': 0.5 < dot(x, x)");
}

TEST_CASE("one name is one slot") {
  const Buffer wide = buffer("t", ElementType::kI32, 2);
  const Buffer narrow = buffer("t", ElementType::kI32, 1, Order::kSorted);
  CHECK(mask_mistake(wide(q(), kv()) == narrow[q()]) ==
        "slot 't' is used as i32[,] and as sorted i32[]");
  CHECK(score_mistake(score() * fparam("x") + iparam("x")) ==
        "slot 'x' is used as float and as int");
}

TEST_CASE("sizes are limited") {
  Expr many = kv() <= q();
  for (int i = 0; i < 66; ++i)
    many = many && q() < iparam(std::string("p").append(std::to_string(i)));
  CHECK(mask_mistake(many) == "the expression has more than 64 slots");

  const auto balanced = [](auto self, int begin, int end) -> Expr {
    if (end - begin == 1) return kv() != begin;
    const int middle = (begin + end) / 2;
    return self(self, begin, middle) && self(self, middle, end);
  };
  MaskProgram program;
  CHECK(compile_mask(balanced(balanced, 0, 1300), program).ok());
  CHECK(mask_mistake(balanced(balanced, 0, 1400)) ==
        "the expression has more than 4096 operations");
}

TEST_CASE("a failed compile leaves the program as it was") {
  MaskProgram program;
  REQUIRE(compile_mask(kv() <= q(), program).ok());
  const ProgramData* before = program.data();
  CHECK_FALSE(compile_mask(q(), program).ok());
  CHECK(program.data() == before);
}

double microseconds(auto&& work) {
  double best = 1e9;
  for (int i = 0; i < 200; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::micro> spent =
        std::chrono::steady_clock::now() - begin;
    best = std::min(best, spent.count());
  }
  return best;
}

// A line that a machine of any speed keeps: microseconds, not milliseconds.
TEST_CASE("compiling takes microseconds") {
  double worst_parse = 0.0;
  double worst_compile = 0.0;
  for (const auto& c : catalogue::masks()) {
    Expr mask;
    MaskProgram program;
    worst_parse = std::max(worst_parse, microseconds([&] {
                             mask = {};
                             CHECK(parse(c.text, mask).ok());
                           }));
    worst_compile =
        std::max(worst_compile, microseconds([&] { CHECK(compile_mask(mask, program).ok()); }));
  }
  for (const auto& c : catalogue::scores()) {
    Expr score;
    ScoreProgram program;
    REQUIRE(parse(c.text, score).ok());
    worst_compile =
        std::max(worst_compile, microseconds([&] { CHECK(compile_score(score, program).ok()); }));
  }
  MESSAGE("slowest of the catalogue: parse " << worst_parse << " us, compile " << worst_compile
                                             << " us");
  CHECK(worst_parse < 1000.0);
  CHECK(worst_compile < 500.0);
}

}  // namespace
}  // namespace attnrt::expr
