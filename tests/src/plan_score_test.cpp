// SPDX-License-Identifier: Apache-2.0
// Which scores become built-in options once their slots are bound, and that these give their bits.
#include "src/plan_score.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/check.hpp"
#include "tests/support/programs.hpp"

namespace attnrt {
namespace {

using test::Problem;
using test::ProblemShape;
using test::score_of;

const std::vector<float> kSlopes = {0.5f, 0.25f, 0.125f, 0.0625f};

ProblemShape shape_of(const std::string& score) {
  ProblemShape shape;
  shape.spec.num_heads_q = 4;
  shape.spec.num_heads_kv = 2;
  shape.spec.head_dim = 32;
  shape.spec.causal = true;
  shape.sequences = {{.q_len = 20, .kv_len = 150}, {.q_len = 1, .kv_len = 600}};
  if (!score.empty()) shape.spec.score = score_of(score);
  shape.score_values = {expr::buffer_value("slopes", expr::ElementType::kF32, kSlopes.data(), {4}),
                        expr::float_value("cap", 2.5f), expr::float_value("slope", 0.5f)};
  return shape;
}

// Whether the score of the shape is left as a program.
bool is_program(const ProblemShape& shape) {
  const Problem problem(shape);
  Plan plan;
  REQUIRE(make_plan(problem.spec(), problem.batch(), plan).message() == "");
  test::Output output = problem.make_output();
  const AttendArgs args = problem.args(output);
  ScoreStorage storage;
  BoundScore score;
  REQUIRE(bind_score(*plan.data(), args, storage, score).message() == "");
  return score.program != nullptr;
}

void check_same_as(const ProblemShape& expression, const ProblemShape& option) {
  const Problem a(expression);
  Problem b(option);
  if (!b.alibi_slopes.empty()) b.alibi_slopes = kSlopes;
  for (const std::string& isa : test::usable_isas()) {
    CAPTURE(isa);
    Context context = test::cpu_context(isa);
    test::Output out_a = a.make_output();
    test::Output out_b = b.make_output();
    REQUIRE(test::run(context, a, out_a) == "ok");
    REQUIRE(test::run(context, b, out_b) == "ok");
    CHECK(test::check_same_bits(out_a, out_b) == "");
  }
}

TEST_CASE("soft caps and ALiBi as expressions are the options, bit for bit") {
  ProblemShape option = shape_of("");
  option.spec.softcap = 2.5f;
  for (const char* text : {"2.5 * tanh(score / 2.5)", "float cap; cap * tanh(score / cap)"}) {
    CAPTURE(std::string(text));
    const ProblemShape shape = shape_of(text);
    CHECK_FALSE(is_program(shape));
    check_same_as(shape, option);
  }
  option = shape_of("");
  option.spec.has_alibi = true;
  const ProblemShape alibi = shape_of("f32 slopes[]; score + slopes[h] * (kv - q)");
  CHECK_FALSE(is_program(alibi));
  check_same_as(alibi, option);
}

TEST_CASE("what the options cannot say stays a program") {
  CHECK_FALSE(is_program(shape_of("score")));
  CHECK(is_program(shape_of("score * 2.0")));
  CHECK(is_program(shape_of("score + exp2(-2.0 * (h + 1)) * (kv - q)")));
  // Not causal: keys after the query are nearer than slope * (kv - q) has it.
  ProblemShape shape = shape_of("f32 slopes[]; score + slopes[h] * (kv - q)");
  shape.spec.causal = false;
  CHECK(is_program(shape));
  shape = shape_of("f32 slopes[]; score - slopes[h] * abs(q - kv)");
  shape.spec.causal = false;
  CHECK_FALSE(is_program(shape));
  // A cap of 0 is no option, and an option that is taken comes before the expression.
  shape = shape_of("float cap; cap * tanh(score / cap)");
  shape.score_values = {expr::float_value("cap", 0.0f)};
  CHECK(is_program(shape));
  shape = shape_of("2.5 * tanh(score / 2.5)");
  shape.spec.softcap = 3.0f;
  CHECK(is_program(shape));
}

TEST_CASE("slots of scores are refused by name, before anything is written") {
  ProblemShape shape = shape_of("float cap; cap * tanh(score / cap)");
  shape.score_values.clear();
  const Problem problem(shape);
  Context context = test::cpu_context();
  test::Output output = problem.make_output();
  const std::vector<std::byte> before = output.bytes;
  CHECK(test::run(context, problem, output) ==
        "InvalidArgument: score_values: slot 'cap' has no value");
  CHECK(output.bytes == before);
}

}  // namespace
}  // namespace attnrt
