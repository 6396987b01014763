// SPDX-License-Identifier: Apache-2.0
// Floats over a tile: intervals of binary32 and whether NaN can occur. + - * / fma sqrt and
// conversions round to nearest, which keeps order, so rounding the ends as the elements are rounded
// is exact. The other functions differ between machines by a few ulp, so their ends are moved out.
#include <algorithm>
#include <cmath>

#include "src/expr/abstract_value.hpp"

namespace attnrt::expr {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// 32 ulp: more than any machine's exp, tanh .. is off by. The absolute part is for results near 0
// that come from polynomials.
constexpr float kRelativeSlack = 0x1p-19f;
constexpr float kAbsoluteSlack = 0x1p-22f;

AbstractValue everything() { return float_range(-kInfinity, kInfinity, true); }

bool infinite(const AbstractValue& x) {
  return x.float_low == -kInfinity || x.float_high == kInfinity;
}

bool contains_zero(const AbstractValue& x) { return x.float_low <= 0 && x.float_high >= 0; }

AbstractValue widened(float low, float high, bool nan) {
  if (std::isnan(low) || std::isnan(high)) return everything();
  low = std::min(low, std::numeric_limits<float>::max());
  high = std::max(high, std::numeric_limits<float>::lowest());
  return float_range(low - (std::abs(low) * kRelativeSlack + kAbsoluteSlack),
                     high + (std::abs(high) * kRelativeSlack + kAbsoluteSlack), nan);
}

AbstractValue or_everything(float low, float high, bool nan) {
  if (std::isnan(low) || std::isnan(high)) return everything();
  return float_range(low, high, nan);
}

// NaN can only come from infinities of both signs, so any infinity counts.
AbstractValue add(const AbstractValue& x, float y_low, float y_high, bool y_nan) {
  const bool risky = infinite(x) || y_low == -kInfinity || y_high == kInfinity;
  return or_everything(x.float_low + y_low, x.float_high + y_high, x.nan || y_nan || risky);
}

template <class Operation>
AbstractValue of_corners(const AbstractValue& x, const AbstractValue& y, bool nan,
                         const Operation& operation) {
  float low = kInfinity;
  float high = -kInfinity;
  for (const float a : {x.float_low, x.float_high}) {
    for (const float b : {y.float_low, y.float_high}) {
      float corner = operation(a, b);
      // 0 * inf: beside it stand products of 0 with anything finite.
      if (std::isnan(corner)) {
        corner = 0;
        nan = true;
      }
      low = std::min(low, corner);
      high = std::max(high, corner);
    }
  }
  return float_range(low, high, nan);
}

AbstractValue multiply(const AbstractValue& x, const AbstractValue& y) {
  const bool risky = (infinite(x) && contains_zero(y)) || (infinite(y) && contains_zero(x));
  return of_corners(x, y, x.nan || y.nan || risky, [](float a, float b) { return a * b; });
}

AbstractValue divide(const AbstractValue& x, const AbstractValue& y) {
  if (contains_zero(y)) return everything();
  return of_corners(x, y, x.nan || y.nan || (infinite(x) && infinite(y)),
                    [](float a, float b) { return a / b; });
}

AbstractValue multiply_add(const AbstractValue& x, const AbstractValue& y, const AbstractValue& z) {
  if (infinite(x) || infinite(y) || infinite(z)) return everything();
  AbstractValue out = float_range(kInfinity, -kInfinity, x.nan || y.nan || z.nan);
  for (const float a : {x.float_low, x.float_high}) {
    for (const float b : {y.float_low, y.float_high}) {
      out.float_low = std::min(out.float_low, std::fma(a, b, z.float_low));
      out.float_high = std::max(out.float_high, std::fma(a, b, z.float_high));
    }
  }
  return out;
}

AbstractValue absolute(const AbstractValue& x) {
  if (x.float_low >= 0) return x;
  if (x.float_high <= 0) return float_range(-x.float_high, -x.float_low, x.nan);
  return float_range(0.0f, std::max(-x.float_low, x.float_high), x.nan);
}

// x < y ? x : y, so a NaN on either side gives y.
AbstractValue minimum(const AbstractValue& x, const AbstractValue& y) {
  float high = std::min(x.float_high, y.float_high);
  if (x.nan) high = y.float_high;
  return float_range(std::min(x.float_low, y.float_low), high, y.nan);
}

AbstractValue maximum(const AbstractValue& x, const AbstractValue& y) {
  float low = std::max(x.float_low, y.float_low);
  if (x.nan) low = y.float_low;
  return float_range(low, std::max(x.float_high, y.float_high), y.nan);
}

AbstractValue logarithm(const AbstractValue& x, float pole, float (*function)(float)) {
  const bool outside = x.float_low < pole;
  if (x.float_high < pole) return everything();
  const float low = x.float_low <= pole ? -kInfinity : function(x.float_low);
  return widened(low, function(x.float_high), x.nan || outside);
}

AbstractValue square_root(const AbstractValue& x) {
  if (x.float_high < 0) return everything();
  return float_range(std::sqrt(std::max(x.float_low, 0.0f)), std::sqrt(x.float_high),
                     x.nan || x.float_low < 0);
}

AbstractValue inverse_square_root(const AbstractValue& x) {
  if (x.float_low <= 0) return everything();
  return widened(1.0f / std::sqrt(x.float_high), 1.0f / std::sqrt(x.float_low), x.nan);
}

AbstractValue power(const AbstractValue& x, const AbstractValue& y) {
  if (x.float_low <= 0 || infinite(x) || infinite(y)) return everything();
  const AbstractValue out =
      of_corners(x, y, x.nan || y.nan, [](float a, float b) { return std::pow(a, b); });
  // pow(NaN, 0) and pow(1, NaN) are 1.
  return out.nan ? everything() : widened(out.float_low, out.float_high, false);
}

float sigmoid_of(float x) { return 1.0f / (1.0f + std::exp(-x)); }

AbstractValue increasing(const AbstractValue& x, float (*function)(float)) {
  return widened(function(x.float_low), function(x.float_high), x.nan);
}

AbstractValue transcendental(Op op, const AbstractValue& x, const AbstractValue& y) {
  switch (op) {
    case Op::kExp:
      return increasing(x, std::exp);
    case Op::kExp2:
      return increasing(x, std::exp2);
    case Op::kTanh:
      return increasing(x, std::tanh);
    case Op::kErf:
      return increasing(x, std::erf);
    case Op::kSigmoid:
      return increasing(x, sigmoid_of);
    case Op::kLog:
      return logarithm(x, 0.0f, std::log);
    case Op::kLog1p:
      return logarithm(x, -1.0f, std::log1p);
    case Op::kSqrt:
      return square_root(x);
    case Op::kRsqrt:
      return inverse_square_root(x);
    case Op::kSin:
    case Op::kCos:
      return widened(-1.0f, 1.0f, x.nan || infinite(x));
    case Op::kPow:
      return power(x, y);
    default:
      return everything();
  }
}

}  // namespace

AbstractValue abstract_float(Op op, const AbstractValue& x, const AbstractValue& y,
                             const AbstractValue& z) {
  switch (op) {
    case Op::kAdd:
      return add(x, y.float_low, y.float_high, y.nan);
    case Op::kSub:
      return add(x, -y.float_high, -y.float_low, y.nan);
    case Op::kMul:
      return multiply(x, y);
    case Op::kDiv:
      return divide(x, y);
    case Op::kFma:
      return multiply_add(x, y, z);
    case Op::kNeg:
      return float_range(-x.float_high, -x.float_low, x.nan);
    case Op::kAbs:
      return absolute(x);
    case Op::kMin:
      return minimum(x, y);
    case Op::kMax:
      return maximum(x, y);
    case Op::kToFloat:
      return float_range(static_cast<float>(x.low), static_cast<float>(x.high), false);
    default:
      return transcendental(op, x, y);
  }
}

uint8_t compare_floats(Op op, const AbstractValue& x, const AbstractValue& y) {
  const bool nan = x.nan || y.nan;
  switch (op) {
    case Op::kLess:
      return truth_of(x.float_low < y.float_high, nan || x.float_high >= y.float_low);
    case Op::kLessEqual:
      return truth_of(x.float_low <= y.float_high, nan || x.float_high > y.float_low);
    default:
      break;
  }
  const bool same = !nan && x.float_low == x.float_high && y.float_low == y.float_high &&
                    x.float_low == y.float_low;
  const bool apart = x.float_high < y.float_low || y.float_high < x.float_low;
  const uint8_t equal = truth_of(!apart, !same);
  return op == Op::kEqual ? equal : negate(equal);
}

}  // namespace attnrt::expr
