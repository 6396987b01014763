// SPDX-License-Identifier: Apache-2.0
// Each transfer function against all numbers of small ranges, and at the ends of 64 bits.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "src/expr/abstract_value.hpp"
#include "src/expr/evaluate.hpp"

namespace attnrt::testing {
namespace {

using expr::AbstractValue;
using expr::Op;

constexpr std::array kOps = {Op::kAdd,   Op::kSub,    Op::kMul,       Op::kNeg,       Op::kAbs,
                             Op::kMin,   Op::kMax,    Op::kFloorDiv,  Op::kFloorMod,  Op::kBitAnd,
                             Op::kBitOr, Op::kBitXor, Op::kShiftLeft, Op::kShiftRight};

bool holds(const AbstractValue& value, int64_t x) {
  return value.low <= x && x <= value.high &&
         (static_cast<uint64_t>(x) & ~value.unknown) == value.bits;
}

AbstractValue range(int64_t low, int64_t high) {
  AbstractValue value = expr::int_range(low, high);
  bits_from_range(value);
  return value;
}

// The operation on two numbers, by the definition.
class Definition {
 public:
  explicit Definition(Op op) {
    const bool unary = op == Op::kNeg || op == Op::kAbs;
    // Parameters are narrower than 64 bits, so operands come from a pair of tables of halves.
    expression_ = expr::Expr(unary ? expr::make_node(op, expr::Type::kInt, {wide("x")})
                                   : expr::make_node(op, expr::Type::kInt, {wide("x"), wide("y")}));
    const std::vector<expr::SlotValue> values = {
        expr::buffer_value("x", expr::ElementType::kI32, x_.data(), {3}),
        expr::buffer_value("y", expr::ElementType::kI32, y_.data(), {3})};
    REQUIRE(expr::Evaluator::create(expression_, values, evaluator_).ok());
  }

  int64_t operator()(int64_t x, int64_t y) {
    split(x, x_);
    split(y, y_);
    return evaluator_.integer({});
  }

 private:
  static expr::NodePtr wide(const char* name) {
    const expr::Buffer parts = expr::buffer(name, expr::ElementType::kI32, 1);
    return ((parts[0] << 33) + (parts[1] << 2) + parts[2]).node();
  }
  static void split(int64_t x, std::array<int32_t, 3>& parts) {
    parts = {static_cast<int32_t>(x >> 33), static_cast<int32_t>((x >> 2) & 0x7fffffff),
             static_cast<int32_t>(x & 3)};
  }

  std::array<int32_t, 3> x_{};
  std::array<int32_t, 3> y_{};
  expr::Expr expression_;
  expr::Evaluator evaluator_;
};

}  // namespace

TEST_CASE("small ranges hold all their results") {
  constexpr int64_t kEdge = 5;
  for (const Op op : kOps) {
    CAPTURE(static_cast<int>(op));
    Definition definition(op);
    int64_t wrong = 0;
    for (int64_t a = -kEdge; a <= kEdge; ++a) {
      for (int64_t b = a; b <= kEdge; ++b) {
        for (int64_t c = -kEdge; c <= kEdge; ++c) {
          for (int64_t d = c; d <= kEdge; d += 2) {
            AbstractValue out;
            abstract_int(op, range(a, b), range(c, d), true, out);
            for (int64_t x = a; x <= b; ++x) {
              for (int64_t y = c; y <= d; ++y) wrong += holds(out, definition(x, y)) ? 0 : 1;
            }
          }
        }
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("ranges at the ends of 64 bits hold what wraps") {
  const std::array<int64_t, 9> edges = {INT64_MIN, INT64_MIN + 1, -3,       -1, 0, 1,
                                        64,        INT64_MAX - 1, INT64_MAX};
  for (const Op op : kOps) {
    CAPTURE(static_cast<int>(op));
    Definition definition(op);
    int64_t wrong = 0;
    for (size_t a = 0; a < edges.size(); ++a) {
      for (size_t b = a; b < edges.size(); ++b) {
        for (size_t c = 0; c < edges.size(); ++c) {
          for (size_t d = c; d < edges.size(); ++d) {
            AbstractValue out;
            abstract_int(op, range(edges[a], edges[b]), range(edges[c], edges[d]), true, out);
            for (size_t x = a; x <= b; ++x) {
              for (size_t y = c; y <= d; ++y) {
                wrong += holds(out, definition(edges[x], edges[y])) ? 0 : 1;
              }
            }
          }
        }
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("what ought to be exact is") {
  const auto of = [](Op op, const AbstractValue& x, const AbstractValue& y) {
    AbstractValue out;
    abstract_int(op, x, y, true, out);
    return out;
  };
  CHECK(of(Op::kFloorMod, range(70, 75), range(64, 64)).high == 11);
  CHECK(of(Op::kFloorDiv, range(-5, 5), range(4, 4)).low == -2);
  const AbstractValue low_bits = of(Op::kBitAnd, range(64, 95), range(0x21, 0x21));
  CHECK(low_bits.high == 1);  // 64..95 all have bit 5 clear
  AbstractValue fours;
  abstract_int(Op::kMul, range(0, 100), range(4, 4), true, fours);
  CHECK(of(Op::kFloorMod, fours, range(4, 4)).high == 0);
  CHECK(compare_ints(Op::kEqual, fours, range(6, 6)) == expr::kCanBeFalse);
  CHECK(compare_ints(Op::kLess, range(1, 3), range(4, 9)) == expr::kCanBeTrue);
}

}  // namespace attnrt::testing
