// SPDX-License-Identifier: Apache-2.0
// What is known about an expression's value over a whole tile. Every operation here keeps at least
// the values that evaluating the elements one by one can give; it may keep more.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "src/expr/graph.hpp"

namespace attnrt::expr {

/// Which truth values a predicate can take in a tile.
enum Truth : uint8_t { kCanBeTrue = 1, kCanBeFalse = 2, kUndecided = 3 };

constexpr uint8_t negate(uint8_t truth) {
  return static_cast<uint8_t>((truth >> 1) | ((truth & 1) << 1));
}

constexpr uint8_t both(uint8_t x, uint8_t y) {
  return static_cast<uint8_t>((x & y & kCanBeTrue) | ((x | y) & kCanBeFalse));
}

constexpr uint8_t truth_of(bool can_be_true, bool can_be_false) {
  return static_cast<uint8_t>((can_be_true ? kCanBeTrue : 0) | (can_be_false ? kCanBeFalse : 0));
}

/// Only the members of the node's type mean something. Functions in the hot path write members in
/// place: copying a value just after its halves were written stalls on store forwarding, 5 ns each.
struct AbstractValue {
  int64_t low = INT64_MIN;  // int: [low, high] and, bit by bit, `bits` where not `unknown`
  int64_t high = INT64_MAX;
  uint64_t unknown = ~uint64_t{0};
  uint64_t bits = 0;  // 0 where unknown
  float float_low = -std::numeric_limits<float>::infinity();
  float float_high = std::numeric_limits<float>::infinity();
  bool nan = true;  // float: can also be NaN
  uint8_t truth = kUndecided;
};

inline AbstractValue int_range(int64_t low, int64_t high) {
  AbstractValue value;
  value.low = low;
  value.high = high;
  return value;
}

inline AbstractValue float_range(float low, float high, bool nan) {
  AbstractValue value;
  value.float_low = low;
  value.float_high = high;
  value.nan = nan;
  return value;
}

inline AbstractValue predicate(uint8_t truth) {
  AbstractValue value;
  value.truth = truth;
  return value;
}

/// Gives a value the bits that all numbers of its range share.
inline void bits_from_range(AbstractValue& value) {
  const uint64_t differ = static_cast<uint64_t>(value.low) ^ static_cast<uint64_t>(value.high);
  value.unknown = differ == 0 ? 0 : ~uint64_t{0} >> std::countl_zero(differ);
  value.bits = static_cast<uint64_t>(value.low) & ~value.unknown;
}

/// Knows of a value both what its range says and what its bits say.
void meet_range_and_bits(AbstractValue& value);

/// The value of an operation on ints, of an int; `out` is neither operand. `bits` asks for known
/// bits, which only operations on bits, remainders and equality make use of.
void abstract_int(Op op, const AbstractValue& x, const AbstractValue& y, bool bits,
                  AbstractValue& out);

/// The value of an operation on floats, of a float. kToFloat reads an int.
AbstractValue abstract_float(Op op, const AbstractValue& x, const AbstractValue& y,
                             const AbstractValue& z);

/// kLess, kLessEqual, kEqual and kNotEqual.
uint8_t compare_ints(Op op, const AbstractValue& x, const AbstractValue& y);
uint8_t compare_floats(Op op, const AbstractValue& x, const AbstractValue& y);

/// Either of two values of a type.
AbstractValue join(Type type, const AbstractValue& x, const AbstractValue& y);

}  // namespace attnrt::expr
