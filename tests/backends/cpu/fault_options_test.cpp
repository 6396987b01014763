// SPDX-License-Identifier: Apache-2.0
// Options at their extremes, on every ISA. Tests carry the number of the fault that they stand for.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "tests/backends/cpu/fault_shape.hpp"
#include "tests/support/check.hpp"

namespace attnrt {
namespace {

using test::Output;
using test::Problem;
using test::ProblemShape;

constexpr float kInfinityF = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int32_t kIntMax = std::numeric_limits<int32_t>::max();

}  // namespace

TEST_SUITE("faults") {
  TEST_CASE("F24: extremes of softcap, sinks, ALiBi and windows") {
    ProblemShape shape = shape_of(6, 300, DType::kF16);
    for (const float softcap : {1e-6f, 1e-3f, 1.0f, 1e4f, 1e30f}) {
      shape.spec.softcap = softcap;
      test::check_on_every_isa(Problem(shape));
    }
    shape.spec.softcap = 0.0f;
    shape.spec.has_sinks = true;
    for (const float sink : {-kInfinityF, -1e30f, 0.0f, 80.0f, 1e30f, kInfinityF, kNaN}) {
      Problem problem(shape);
      problem.sinks.assign(4, sink);
      test::check_on_every_isa(problem);
    }
    shape.spec.has_sinks = false;
    shape.spec.has_alibi = true;
    for (const float slope : {0.0f, 1e6f, -1e-3f, -2.0f, 1e-30f}) {
      Problem problem(shape);
      problem.alibi_slopes.assign(4, slope);
      test::check_on_every_isa(problem);
    }
    shape.spec.has_alibi = false;
    for (const int32_t window : {0, 1, 299, 300, kIntMax}) {
      shape.spec.window_left = window;
      shape.spec.window_right = -1;
      test::check_on_every_isa(Problem(shape));
      shape.spec.window_right = window;
      test::check_on_every_isa(Problem(shape));
      shape.spec.window_left = -1;
      test::check_on_every_isa(Problem(shape));
    }
  }

  TEST_CASE("F18, F24: a NaN sink makes rows NaN, but not those that see no key; others stay") {
    ProblemShape shape = shape_of(6, 4);  // the first rows see nothing
    shape.spec.causal = true;
    shape.spec.has_sinks = true;
    Problem problem(shape);
    problem.sinks.assign(4, 0.5f);
    problem.sinks[1] = kNaN;
    test::check_on_every_isa(problem);
    ContextOptions reference;
    reference.backend = "reference";
    Context context;
    REQUIRE(Context::create(reference, context).ok());
    Output output = problem.make_output();
    REQUIRE(test::run(context, problem, output) == "ok");
    const auto lse = [&](size_t token, size_t head) { return output.lse[head * 6 + token]; };
    CHECK(output.at(0, 1, 0) == 0.0);
    CHECK(std::isnan(lse(0, 1)));
    CHECK(std::isnan(output.at(5, 1, 0)));
    CHECK(std::isnan(lse(5, 1)));
    CHECK(lse(0, 0) == 0.5f);
    CHECK(std::isfinite(output.at(5, 0, 0)));
  }

  TEST_CASE("F24: query positions at both ends of int32") {
    for (const int32_t q_start : {kIntMax - 3, kIntMax, -kIntMax - 1, -kIntMax}) {
      ProblemShape shape = shape_of(600, 100);  // positions go on past the ends of int32
      shape.sequences[0].q_start = q_start;
      CAPTURE(q_start);
      test::check_on_every_isa(Problem(shape));
      shape.spec.causal = true;
      test::check_on_every_isa(Problem(shape));
      shape.spec.window_left = kIntMax;
      test::check_on_every_isa(Problem(shape));
      shape.spec.window_left = 10;
      test::check_on_every_isa(Problem(shape));
    }
  }

  TEST_CASE("F25: base, order and empty value of the LSE are part of the call") {
    ProblemShape shape = shape_of(5, 3);
    shape.spec.causal = true;
    const Problem problem(shape);
    const test::Expected expected = test::expect(problem);
    for (const std::string& isa : test::usable_isas()) {
      CAPTURE(isa);
      Context context = test::cpu_context(isa);
      for (const LseBase base : {LseBase::kNatural, LseBase::kTwo}) {
        for (const LseOrder order : {LseOrder::kHeadsFirst, LseOrder::kTokensFirst}) {
          for (const LseEmpty empty : {LseEmpty::kMinusInf, LseEmpty::kPlusInf}) {
            Output output = problem.make_output({nullptr, base, order, empty});
            REQUIRE(test::run(context, problem, output) == "ok");
            CHECK(test::check_close(problem, expected, output,
                                    test::weights_of(context, problem)) == "");
            CHECK(output.lse[0] == (empty == LseEmpty::kPlusInf ? kInfinityF : -kInfinityF));
          }
        }
      }
    }
  }
}

}  // namespace attnrt
