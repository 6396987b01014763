// SPDX-License-Identifier: Apache-2.0
// Integers over a tile: intervals and known bits. Integers wrap at 64 bits, so an interval that
// could leave them becomes everything, while known bits stay right.
#include <algorithm>
#include <utility>

#include "src/expr/abstract_value.hpp"

namespace attnrt::expr {
namespace {

struct Interval {
  int64_t low = INT64_MIN;
  int64_t high = INT64_MAX;
};

constexpr uint64_t kSignBit = uint64_t{1} << 63;

Interval hull(Interval x, Interval y) { return {std::min(x.low, y.low), std::max(x.high, y.high)}; }

Interval hull_of_corners(const std::array<int64_t, 4>& corner) {
  const auto [low, high] = std::minmax_element(corner.begin(), corner.end());
  return {*low, *high};
}

Interval add(const AbstractValue& x, const AbstractValue& y) {
  Interval out;
  if (__builtin_add_overflow(x.low, y.low, &out.low) ||
      __builtin_add_overflow(x.high, y.high, &out.high)) {
    return {};
  }
  return out;
}

Interval subtract(const AbstractValue& x, const AbstractValue& y) {
  Interval out;
  if (__builtin_sub_overflow(x.low, y.high, &out.low) ||
      __builtin_sub_overflow(x.high, y.low, &out.high)) {
    return {};
  }
  return out;
}

Interval multiply(const AbstractValue& x, const AbstractValue& y) {
  std::array<int64_t, 4> corner{};
  if (__builtin_mul_overflow(x.low, y.low, &corner[0]) ||
      __builtin_mul_overflow(x.low, y.high, &corner[1]) ||
      __builtin_mul_overflow(x.high, y.low, &corner[2]) ||
      __builtin_mul_overflow(x.high, y.high, &corner[3])) {
    return {};
  }
  return hull_of_corners(corner);
}

Interval absolute(const AbstractValue& x) {
  if (x.low == INT64_MIN) return {};  // wraps to itself
  if (x.low >= 0) return {x.low, x.high};
  if (x.high <= 0) return {-x.high, -x.low};
  return {0, std::max(-x.low, x.high)};
}

int64_t floor_div(int64_t x, int64_t y) {
  const int64_t quotient = x / y;
  return quotient - (x % y != 0 && (x < 0) != (y < 0) ? 1 : 0);
}

// The quotient rises or falls with either operand while the divisor keeps its sign.
Interval divide_by_sign(const AbstractValue& x, int64_t low, int64_t high) {
  return hull_of_corners({floor_div(x.low, low), floor_div(x.low, high), floor_div(x.high, low),
                          floor_div(x.high, high)});
}

Interval divide(const AbstractValue& x, const AbstractValue& y) {
  if (x.low == INT64_MIN) return {};  // INT64_MIN / -1 wraps
  if (y.low > 0 || y.high < 0) return divide_by_sign(x, y.low, y.high);
  Interval out{0, 0};  // the divisor can be 0
  if (y.low < 0) out = hull(out, divide_by_sign(x, y.low, -1));
  if (y.high > 0) out = hull(out, divide_by_sign(x, 1, y.high));
  return out;
}

// x - quotient * y, which fits, although the product may not.
int64_t rest_of(int64_t x, int64_t quotient, int64_t y) {
  return static_cast<int64_t>(static_cast<uint64_t>(x) -
                              static_cast<uint64_t>(quotient) * static_cast<uint64_t>(y));
}

Interval remainder(const AbstractValue& x, const AbstractValue& y) {
  if (y.low == y.high && y.low != 0 && x.low != INT64_MIN) {
    const int64_t quotient = floor_div(x.low, y.low);
    if (quotient == floor_div(x.high, y.low)) {
      return {rest_of(x.low, quotient, y.low), rest_of(x.high, quotient, y.low)};
    }
  }
  if (y.low > 0 && x.low >= 0 && x.high < y.low) return {x.low, x.high};
  return {y.low < 0 ? y.low + 1 : 0, y.high > 0 ? y.high - 1 : 0};
}

Interval shift_left(const AbstractValue& x, const AbstractValue& count) {
  if (count.low < 0 || count.high > 62 || x.low < 0) return {};
  const int high = static_cast<int>(count.high);
  if (x.high > (INT64_MAX >> high)) return {};
  return {x.low << static_cast<int>(count.low), x.high << high};
}

Interval shift_right(const AbstractValue& x, const AbstractValue& count) {
  // A count outside [0, 63] leaves the sign alone, as 63 does.
  const bool outside = count.low < 0 || count.high > 63;
  const int low = static_cast<int>(std::clamp<int64_t>(count.low, 0, 63));
  const int high = outside ? 63 : static_cast<int>(count.high);
  return hull_of_corners({x.low >> low, x.low >> high, x.high >> low, x.high >> high});
}

void keep(AbstractValue& value, Interval range) {
  value.low = range.low;
  value.high = range.high;
}

// Addition of numbers with unknown bits: a carry is unknown from the lowest place where it differs
// between all unknown bits 0 and all 1.
void add_bits(const AbstractValue& x, const AbstractValue& y, AbstractValue& out) {
  const uint64_t low = x.bits + y.bits;
  const uint64_t high = low + (x.unknown + y.unknown);
  out.unknown = (low ^ high) | x.unknown | y.unknown;
  out.bits = low & ~out.unknown;
}

void subtract_bits(const AbstractValue& x, const AbstractValue& y, AbstractValue& out) {
  const uint64_t difference = x.bits - y.bits;
  const uint64_t most = difference + x.unknown;
  const uint64_t least = difference - y.unknown;
  out.unknown = (most ^ least) | x.unknown | y.unknown;
  out.bits = difference & ~out.unknown;
}

// Of a product only the zeros at its end are kept.
void multiply_bits(const AbstractValue& x, const AbstractValue& y, AbstractValue& out) {
  const int zeros = std::countr_zero(x.bits | x.unknown) + std::countr_zero(y.bits | y.unknown);
  out.unknown = zeros >= 64 ? 0 : ~uint64_t{0} << zeros;
  out.bits = 0;
}

void logic_bits(Op op, const AbstractValue& x, const AbstractValue& y, AbstractValue& out) {
  const uint64_t x_can = x.bits | x.unknown;
  const uint64_t y_can = y.bits | y.unknown;
  if (op == Op::kBitAnd) {
    out.bits = x.bits & y.bits;
    out.unknown = (x_can & y_can) & ~out.bits;
  } else if (op == Op::kBitOr) {
    out.bits = x.bits | y.bits;
    out.unknown = (x_can | y_can) & ~out.bits;
  } else {
    out.unknown = x.unknown | y.unknown;
    out.bits = (x.bits ^ y.bits) & ~out.unknown;
  }
}

void shift_bits(Op op, const AbstractValue& x, const AbstractValue& count, AbstractValue& out) {
  if (count.low != count.high || count.low < 0 || count.low > 63) return;
  const int places = static_cast<int>(count.low);
  if (op == Op::kShiftLeft) {
    out.bits = x.bits << places;
    out.unknown = x.unknown << places;
  } else {
    out.bits = static_cast<uint64_t>(static_cast<int64_t>(x.bits) >> places);
    out.unknown = static_cast<uint64_t>(static_cast<int64_t>(x.unknown) >> places);
    out.bits &= ~out.unknown;
  }
}

void remainder_bits(const AbstractValue& x, const AbstractValue& y, AbstractValue& out) {
  if (y.low != y.high || y.low <= 0) return;
  const uint64_t divisor = static_cast<uint64_t>(y.low);
  if (!std::has_single_bit(divisor)) return;
  out.unknown = x.unknown & (divisor - 1);
  out.bits = x.bits & (divisor - 1);
}

void join_bits(const AbstractValue& x, const AbstractValue& y, AbstractValue& out) {
  out.unknown = x.unknown | y.unknown | (x.bits ^ y.bits);
  out.bits = x.bits & ~out.unknown;
}

void known_bits(Op op, const AbstractValue& x, const AbstractValue& y, AbstractValue& out) {
  switch (op) {
    case Op::kAdd:
      return add_bits(x, y, out);
    case Op::kSub:
      return subtract_bits(x, y, out);
    case Op::kNeg:
      return subtract_bits(AbstractValue{.unknown = 0}, x, out);
    case Op::kMul:
      return multiply_bits(x, y, out);
    case Op::kFloorMod:
      return remainder_bits(x, y, out);
    case Op::kShiftLeft:
    case Op::kShiftRight:
      return shift_bits(op, x, y, out);
    case Op::kMin:
    case Op::kMax:
      return join_bits(x, y, out);
    default:
      return;
  }
}

Interval interval(Op op, const AbstractValue& x, const AbstractValue& y) {
  switch (op) {
    case Op::kAdd:
      return add(x, y);
    case Op::kSub:
      return subtract(x, y);
    case Op::kMul:
      return multiply(x, y);
    case Op::kNeg:
      return x.low == INT64_MIN ? Interval{} : Interval{-x.high, -x.low};
    case Op::kAbs:
      return absolute(x);
    case Op::kMin:
      return {std::min(x.low, y.low), std::min(x.high, y.high)};
    case Op::kMax:
      return {std::max(x.low, y.low), std::max(x.high, y.high)};
    case Op::kFloorDiv:
      return divide(x, y);
    case Op::kFloorMod:
      return remainder(x, y);
    case Op::kShiftLeft:
      return shift_left(x, y);
    case Op::kShiftRight:
      return shift_right(x, y);
    default:
      return {};
  }
}

bool is_logic(Op op) { return op == Op::kBitAnd || op == Op::kBitOr || op == Op::kBitXor; }

void logic(Op op, const AbstractValue& x, const AbstractValue& y, AbstractValue& out) {
  keep(out, {});
  logic_bits(op, x, y, out);
  if (op == Op::kBitAnd && (x.low >= 0 || y.low >= 0)) {
    out.low = 0;
    out.high = std::min(x.low >= 0 ? x.high : INT64_MAX, y.low >= 0 ? y.high : INT64_MAX);
  } else if (op == Op::kBitOr && x.low >= 0 && y.low >= 0) {
    out.low = std::max(x.low, y.low);
  }
  meet_range_and_bits(out);
}

}  // namespace

void meet_range_and_bits(AbstractValue& value) {
  const bool sign_unknown = (value.unknown & kSignBit) != 0;
  const uint64_t least = value.bits | (sign_unknown ? kSignBit : 0);
  const uint64_t most = (value.bits | value.unknown) & ~(sign_unknown ? kSignBit : 0);
  value.low = std::max(value.low, static_cast<int64_t>(least));
  value.high = std::min(value.high, static_cast<int64_t>(most));
  AbstractValue range = value;
  bits_from_range(range);
  value.bits = value.bits | range.bits;
  value.unknown &= range.unknown;
  value.bits &= ~value.unknown;
}

void abstract_int(Op op, const AbstractValue& x, const AbstractValue& y, bool bits,
                  AbstractValue& out) {
  if (is_logic(op)) {
    logic(op, x, y, out);
    return;
  }
  keep(out, interval(op, x, y));
  if (!bits) return;
  out.unknown = ~uint64_t{0};
  out.bits = 0;
  known_bits(op, x, y, out);
  meet_range_and_bits(out);
}

uint8_t compare_ints(Op op, const AbstractValue& x, const AbstractValue& y) {
  switch (op) {
    case Op::kLess:
      return truth_of(x.low < y.high, x.high >= y.low);
    case Op::kLessEqual:
      return truth_of(x.low <= y.high, x.high > y.low);
    default:
      break;
  }
  const bool same = x.low == x.high && y.low == y.high && x.low == y.low;
  const bool apart =
      x.high < y.low || y.high < x.low || ((x.bits ^ y.bits) & ~x.unknown & ~y.unknown) != 0;
  const uint8_t equal = truth_of(!apart, !same);
  return op == Op::kEqual ? equal : negate(equal);
}

AbstractValue join(Type type, const AbstractValue& x, const AbstractValue& y) {
  AbstractValue out;
  if (type == Type::kInt) {
    out.low = std::min(x.low, y.low);
    out.high = std::max(x.high, y.high);
    join_bits(x, y, out);
  } else if (type == Type::kFloat) {
    out = float_range(std::min(x.float_low, y.float_low), std::max(x.float_high, y.float_high),
                      x.nan || y.nan);
  } else {
    out.truth = x.truth | y.truth;
  }
  return out;
}

}  // namespace attnrt::expr
