// SPDX-License-Identifier: Apache-2.0
// Each transfer function on floats against samples of its ranges, infinities and NaN included.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <random>
#include <utility>

#include "src/expr/abstract_value.hpp"
#include "src/expr/evaluate.hpp"

namespace attnrt::testing {
namespace {

using expr::AbstractValue;
using expr::Op;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool holds(const AbstractValue& value, double x) {
  if (std::isnan(x)) return value.nan;
  const auto f = static_cast<float>(x);
  return value.float_low <= f && f <= value.float_high;
}

}  // namespace

TEST_CASE("ranges of floats hold the results of their elements") {
  const expr::Expr x = expr::fparam("x");
  const expr::Expr y = expr::fparam("y");
  const std::vector<std::pair<Op, expr::Expr>> operations = {
      {Op::kAdd, x + y},    {Op::kSub, x - y},      {Op::kMul, x * y},
      {Op::kDiv, x / y},    {Op::kMin, min(x, y)},  {Op::kMax, max(x, y)},
      {Op::kNeg, -x},       {Op::kAbs, abs(x)},     {Op::kExp, exp(x)},
      {Op::kExp2, exp2(x)}, {Op::kLog, log(x)},     {Op::kLog1p, log1p(x)},
      {Op::kTanh, tanh(x)}, {Op::kErf, erf(x)},     {Op::kSigmoid, sigmoid(x)},
      {Op::kSqrt, sqrt(x)}, {Op::kRsqrt, rsqrt(x)}, {Op::kSin, sin(x)},
      {Op::kCos, cos(x)},   {Op::kPow, pow(x, y)},  {Op::kFma, fma(x, y, x)}};
  const std::array<float, 12> points = {-kInfinity, -1e38f, -3.5f, -1.0f, -0.25f, 0.0f,
                                        1e-40f,     0.5f,   1.0f,  2.75f, 90.0f,  kInfinity};
  for (const auto& [op, expression] : operations) {
    CAPTURE(to_string(expression));
    int64_t wrong = 0;
    for (size_t i = 0; i < points.size(); ++i) {
      for (size_t j = 0; j < points.size(); ++j) {
        const std::vector<expr::SlotValue> values = {expr::float_value("x", points[i]),
                                                     expr::float_value("y", points[j])};
        expr::Evaluator evaluator;
        REQUIRE(expr::Evaluator::create(expression, values, evaluator).ok());
        const double result = evaluator.real({});
        // Any ranges around the two points.
        for (size_t below = 0; below <= 2; ++below) {
          const auto range = [&](size_t at) {
            return expr::float_range(points[at - std::min(at, below)],
                                     points[std::min(at + below, points.size() - 1)], false);
          };
          wrong += holds(abstract_float(op, range(i), range(j), range(i)), result) ? 0 : 1;
        }
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("NaN makes comparisons false and is never lost") {
  const AbstractValue one = expr::float_range(1.0f, 1.0f, false);
  const AbstractValue perhaps = expr::float_range(2.0f, 3.0f, true);
  CHECK(compare_floats(Op::kLess, one, perhaps) == expr::kUndecided);
  CHECK(compare_floats(Op::kLess, perhaps, one) == expr::kCanBeFalse);
  CHECK(compare_floats(Op::kNotEqual, one, perhaps) == expr::kCanBeTrue);
  CHECK(compare_floats(Op::kEqual, one, one) == expr::kCanBeTrue);
  // min(a, b) is a < b ? a : b: a NaN in a gives b.
  const AbstractValue low = abstract_float(Op::kMin, perhaps, expr::float_range(5, 6, false), one);
  CHECK(low.float_high == 6.0f);
  CHECK_FALSE(low.nan);
  CHECK(abstract_float(Op::kMax, one, perhaps, one).nan);
}

}  // namespace attnrt::testing
