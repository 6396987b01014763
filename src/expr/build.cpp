// SPDX-License-Identifier: Apache-2.0
// The operators and functions of expr.hpp: types are checked here, and a mistake is described by
// the operation and the text of the operand at fault.
#include <string>

#include "src/expr/fold.hpp"
#include "src/expr/graph.hpp"

namespace attnrt::expr {
namespace {

std::string role(const OpInfo& op, int index) {
  const std::string quoted = std::string("'") + std::string(op.text) + "'";
  if (op.notation == Notation::kPrefix) return "the operand of " + quoted;
  if (op.notation == Notation::kCall) {
    return "argument " + std::to_string(index + 1) + " of " + quoted;
  }
  return (index == 0 ? "the left side of " : "the right side of ") + quoted;
}

Expr wrong_operand(const OpInfo& op, int index, const Expr& x) {
  return Expr(make_error(role(op, index) + " is " + std::string(describe(x.type())) + ": " +
                         excerpt(x.node())));
}

constexpr unsigned bit(Type type) { return 1u << static_cast<unsigned>(type); }
constexpr unsigned kInts = bit(Type::kInt);
constexpr unsigned kNumbers = bit(Type::kInt) | bit(Type::kFloat);
constexpr unsigned kPredicates = bit(Type::kPredicate);

// The first operand that is a mistake already, empty, or of a type that is not among `types`; as
// an Expr that carries the mistake. Empty if all are well.
Expr first_mistake(const OpInfo& op, std::initializer_list<Expr> operands, unsigned types) {
  int index = 0;
  for (const Expr& x : operands) {
    if (x.node() == nullptr) return Expr(make_error(role(op, index) + " is an empty expression"));
    if (!x.valid()) return x;
    ++index;
  }
  index = 0;
  for (const Expr& x : operands) {
    if ((bit(x.type()) & types) == 0) return wrong_operand(op, index, x);
    ++index;
  }
  return {};
}

bool bad(const Expr& mistake) { return mistake.node() != nullptr; }

NodePtr as_float(const Expr& x) {
  return x.type() == Type::kFloat ? x.node() : fold(Op::kToFloat, Type::kFloat, {x.node()});
}

Expr number(Op op, const Expr& x, const Expr& y) {
  if (Expr mistake = first_mistake(info(op), {x, y}, kNumbers); bad(mistake)) return mistake;
  if (x.type() == Type::kInt && y.type() == Type::kInt) {
    return Expr(fold(op, Type::kInt, {x.node(), y.node()}));
  }
  return Expr(fold(op, Type::kFloat, {as_float(x), as_float(y)}));
}

Expr number(Op op, const Expr& x) {
  if (Expr mistake = first_mistake(info(op), {x}, kNumbers); bad(mistake)) return mistake;
  return Expr(fold(op, x.type(), {x.node()}));
}

Expr integer(Op op, const Expr& x, const Expr& y) {
  if (Expr mistake = first_mistake(info(op), {x, y}, kInts); bad(mistake)) return mistake;
  return Expr(fold(op, Type::kInt, {x.node(), y.node()}));
}

Expr predicate(Op op, const Expr& x, const Expr& y) {
  if (Expr mistake = first_mistake(info(op), {x, y}, kPredicates); bad(mistake)) return mistake;
  return Expr(fold(op, Type::kPredicate, {x.node(), y.node()}));
}

// & | ^ of two integers or of two predicates; the left side decides.
Expr bits(Op op, Op of_predicates, const Expr& x, const Expr& y) {
  if (x.valid() && x.type() == Type::kPredicate) {
    const unsigned types = kPredicates;
    if (Expr mistake = first_mistake(info(op), {x, y}, types); bad(mistake)) return mistake;
    return predicate(of_predicates, x, y);
  }
  return integer(op, x, y);
}

// `written` is how the user wrote it: > is kept as a swapped <, and a mistake must not say so.
Expr compare(Op op, const OpInfo& written, const Expr& x, const Expr& y, bool swapped) {
  if (Expr mistake = first_mistake(written, {x, y}, kNumbers); bad(mistake)) return mistake;
  const bool ints = x.type() == Type::kInt && y.type() == Type::kInt;
  const NodePtr left = ints ? x.node() : as_float(x);
  const NodePtr right = ints ? y.node() : as_float(y);
  if (swapped) return Expr(fold(op, Type::kPredicate, {right, left}));
  return Expr(fold(op, Type::kPredicate, {left, right}));
}

bool both_predicates(const Expr& x, const Expr& y) {
  return x.valid() && y.valid() && x.type() == Type::kPredicate && y.type() == Type::kPredicate;
}

constexpr OpInfo kGreater{">", Notation::kInfix, 7, 2};
constexpr OpInfo kGreaterEqual{">=", Notation::kInfix, 7, 2};
constexpr OpInfo kModulo{"%", Notation::kInfix, 10, 2};

Expr function(Op op, const Expr& x) {
  if (Expr mistake = first_mistake(info(op), {x}, kNumbers); bad(mistake)) return mistake;
  return Expr(make_node(op, Type::kFloat, {as_float(x)}));
}

}  // namespace

Expr operator+(const Expr& x, const Expr& y) { return number(Op::kAdd, x, y); }
Expr operator-(const Expr& x, const Expr& y) { return number(Op::kSub, x, y); }
Expr operator*(const Expr& x, const Expr& y) { return number(Op::kMul, x, y); }
Expr operator-(const Expr& x) { return number(Op::kNeg, x); }
Expr abs(const Expr& x) { return number(Op::kAbs, x); }
Expr min(const Expr& x, const Expr& y) { return number(Op::kMin, x, y); }
Expr max(const Expr& x, const Expr& y) { return number(Op::kMax, x, y); }

Expr clamp(const Expr& x, const Expr& low, const Expr& high) {
  static constexpr OpInfo kClamp{"clamp", Notation::kCall, 0, 3};
  if (Expr mistake = first_mistake(kClamp, {x, low, high}, kNumbers); bad(mistake)) return mistake;
  return min(max(x, low), high);
}

Expr operator/(const Expr& x, const Expr& y) {
  if (Expr mistake = first_mistake(info(Op::kDiv), {x, y}, kNumbers); bad(mistake)) return mistake;
  if (x.type() == Type::kInt && y.type() == Type::kInt) {
    return Expr(make_error("both sides of '/' are integers: use floordiv, or to_float: " +
                           excerpt(x.node()) + " / " + excerpt(y.node())));
  }
  return Expr(make_node(Op::kDiv, Type::kFloat, {as_float(x), as_float(y)}));
}

Expr floordiv(const Expr& x, const Expr& y) { return integer(Op::kFloorDiv, x, y); }
Expr floormod(const Expr& x, const Expr& y) { return integer(Op::kFloorMod, x, y); }

Expr operator%(const Expr& x, const Expr& y) {
  if (Expr mistake = first_mistake(kModulo, {x, y}, kInts); bad(mistake)) return mistake;
  return floormod(x, y);
}

Expr operator<<(const Expr& x, const Expr& count) { return integer(Op::kShiftLeft, x, count); }
Expr operator>>(const Expr& x, const Expr& count) { return integer(Op::kShiftRight, x, count); }
Expr operator&(const Expr& x, const Expr& y) { return bits(Op::kBitAnd, Op::kAnd, x, y); }
Expr operator|(const Expr& x, const Expr& y) { return bits(Op::kBitOr, Op::kOr, x, y); }
Expr operator^(const Expr& x, const Expr& y) { return bits(Op::kBitXor, Op::kXor, x, y); }

Expr operator~(const Expr& x) {
  static constexpr OpInfo kTilde{"~", Notation::kPrefix, 11, 1};
  if (Expr mistake = first_mistake(kTilde, {x}, kInts | kPredicates); bad(mistake)) return mistake;
  return x.type() == Type::kPredicate ? !x : x ^ Expr(-1);
}

Expr operator<(const Expr& x, const Expr& y) {
  return compare(Op::kLess, info(Op::kLess), x, y, false);
}
Expr operator<=(const Expr& x, const Expr& y) {
  return compare(Op::kLessEqual, info(Op::kLessEqual), x, y, false);
}
Expr operator>(const Expr& x, const Expr& y) { return compare(Op::kLess, kGreater, x, y, true); }
Expr operator>=(const Expr& x, const Expr& y) {
  return compare(Op::kLessEqual, kGreaterEqual, x, y, true);
}

Expr operator==(const Expr& x, const Expr& y) {
  if (both_predicates(x, y)) return !predicate(Op::kXor, x, y);
  return compare(Op::kEqual, info(Op::kEqual), x, y, false);
}

Expr operator!=(const Expr& x, const Expr& y) {
  if (both_predicates(x, y)) return predicate(Op::kXor, x, y);
  return compare(Op::kNotEqual, info(Op::kNotEqual), x, y, false);
}

Expr operator&&(const Expr& x, const Expr& y) { return predicate(Op::kAnd, x, y); }
Expr operator||(const Expr& x, const Expr& y) { return predicate(Op::kOr, x, y); }

Expr operator!(const Expr& x) {
  if (Expr mistake = first_mistake(info(Op::kNot), {x}, kPredicates); bad(mistake)) return mistake;
  return Expr(fold(Op::kNot, Type::kPredicate, {x.node()}));
}

Expr select(const Expr& predicate, const Expr& x, const Expr& y) {
  const OpInfo& op = info(Op::kSelect);
  const unsigned any = kNumbers | kPredicates;
  if (Expr mistake = first_mistake(op, {predicate, x, y}, any); bad(mistake)) return mistake;
  if (predicate.type() != Type::kPredicate) return wrong_operand(op, 0, predicate);
  if (x.type() == y.type()) {
    return Expr(fold(Op::kSelect, x.type(), {predicate.node(), x.node(), y.node()}));
  }
  if (x.type() == Type::kPredicate) return wrong_operand(op, 2, y);
  if (y.type() == Type::kPredicate) return wrong_operand(op, 2, y);
  return Expr(fold(Op::kSelect, Type::kFloat, {predicate.node(), as_float(x), as_float(y)}));
}

Expr to_float(const Expr& x) {
  const OpInfo& op = info(Op::kToFloat);
  if (Expr mistake = first_mistake(op, {x}, kNumbers); bad(mistake)) return mistake;
  return Expr(as_float(x));
}

Expr fma(const Expr& x, const Expr& y, const Expr& z) {
  const OpInfo& op = info(Op::kFma);
  if (Expr mistake = first_mistake(op, {x, y, z}, kNumbers); bad(mistake)) return mistake;
  return Expr(make_node(Op::kFma, Type::kFloat, {as_float(x), as_float(y), as_float(z)}));
}

Expr exp(const Expr& x) { return function(Op::kExp, x); }
Expr exp2(const Expr& x) { return function(Op::kExp2, x); }
Expr log(const Expr& x) { return function(Op::kLog, x); }
Expr log1p(const Expr& x) { return function(Op::kLog1p, x); }
Expr tanh(const Expr& x) { return function(Op::kTanh, x); }
Expr sigmoid(const Expr& x) { return function(Op::kSigmoid, x); }
Expr erf(const Expr& x) { return function(Op::kErf, x); }
Expr sqrt(const Expr& x) { return function(Op::kSqrt, x); }
Expr rsqrt(const Expr& x) { return function(Op::kRsqrt, x); }
Expr sin(const Expr& x) { return function(Op::kSin, x); }
Expr cos(const Expr& x) { return function(Op::kCos, x); }

Expr pow(const Expr& x, const Expr& y) {
  const OpInfo& op = info(Op::kPow);
  if (Expr mistake = first_mistake(op, {x, y}, kNumbers); bad(mistake)) return mistake;
  return Expr(make_node(Op::kPow, Type::kFloat, {as_float(x), as_float(y)}));
}

}  // namespace attnrt::expr
