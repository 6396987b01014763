// SPDX-License-Identifier: Apache-2.0
// Folding of literals and of trivial predicates.
#include "src/expr/fold.hpp"

#include <algorithm>
#include <optional>
#include <span>

namespace attnrt::expr {
namespace {

bool is_literal(const NodePtr& node) { return node->op == Op::kLiteral; }
bool is_true(const NodePtr& node) { return is_literal(node) && node->literal.i != 0; }
bool is_false(const NodePtr& node) { return is_literal(node) && node->literal.i == 0; }

// Operands are at most 2^40 in size, so only a product can leave 64 bits.
std::optional<int64_t> fold_ints(Op op, int64_t x, int64_t y) {
  switch (op) {
    case Op::kAdd:
      return x + y;
    case Op::kSub:
      return x - y;
    case Op::kMul: {
      int64_t product = 0;
      if (__builtin_mul_overflow(x, y, &product)) return {};
      return product;
    }
    case Op::kMin:
      return std::min(x, y);
    case Op::kMax:
      return std::max(x, y);
    default:
      return {};
  }
}

NodePtr fold_literals(Op op, Type type, std::span<const NodePtr> x) {
  if (type == Type::kInt && x.size() == 2) {
    const auto value = fold_ints(op, x[0]->literal.i, x[1]->literal.i);
    if (value && *value >= -kMaxInt && *value <= kMaxInt) return Expr(*value).node();
    return nullptr;
  }
  if (op == Op::kNeg) {
    return type == Type::kInt ? Expr(-x[0]->literal.i).node() : Expr(-x[0]->literal.f).node();
  }
  if (op == Op::kToFloat) return Expr(static_cast<float>(x[0]->literal.i)).node();
  return nullptr;
}

// x && true, x || x, !!x and their like.
NodePtr fold_predicate(Op op, std::span<const NodePtr> x) {
  switch (op) {
    case Op::kAnd:
      if (is_false(x[0]) || is_true(x[1]) || x[0] == x[1]) return x[0];
      return is_true(x[0]) || is_false(x[1]) ? x[1] : nullptr;
    case Op::kOr:
      if (is_true(x[0]) || is_false(x[1]) || x[0] == x[1]) return x[0];
      return is_false(x[0]) || is_true(x[1]) ? x[1] : nullptr;
    case Op::kXor:
      if (is_false(x[1])) return x[0];
      if (is_false(x[0])) return x[1];
      if (is_true(x[1])) return fold(Op::kNot, Type::kPredicate, {x[0]});
      return is_true(x[0]) ? fold(Op::kNot, Type::kPredicate, {x[1]}) : nullptr;
    case Op::kNot:
      if (is_literal(x[0])) return Expr(x[0]->literal.i == 0).node();
      return x[0]->op == Op::kNot ? x[0]->operands[0] : nullptr;
    default:
      return nullptr;
  }
}

}  // namespace

NodePtr fold(Op op, Type type, std::initializer_list<NodePtr> operands) {
  const std::span<const NodePtr> x(operands.begin(), operands.size());
  NodePtr folded;
  if (std::ranges::all_of(x, is_literal)) folded = fold_literals(op, type, x);
  if (folded == nullptr && type == Type::kPredicate) folded = fold_predicate(op, x);
  if (folded == nullptr && op == Op::kSelect) {
    if (is_literal(x[0])) folded = is_true(x[0]) ? x[1] : x[2];
    if (x[1] == x[2]) folded = x[1];
  }
  return folded != nullptr ? folded : make_node(op, type, operands);
}

}  // namespace attnrt::expr
