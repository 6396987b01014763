// SPDX-License-Identifier: Apache-2.0
// What expressions start from: positions, literals, parameters, captured buffers.
#include <limits>
#include <string>
#include <unordered_map>

#include "src/expr/graph.hpp"

namespace attnrt::expr {
namespace {

Expr leaf(Op op, Type type) { return Expr(make_node(op, type, {})); }

std::string bad_slot(const Slot& slot) {
  const std::string quoted = std::string("'").append(slot.name, 0, 64).append("'");
  if (!is_name(slot.name)) return quoted + " cannot be the name of a slot";
  if (slot.kind != SlotKind::kBuffer) return "";
  if (slot.rank < 1 || slot.rank > 4) {
    return "buffer " + quoted + " has rank " + std::to_string(slot.rank) + ", not 1 to 4";
  }
  if (slot.sorted && slot.rank != 1) return "only buffers of rank 1 are sorted, not " + quoted;
  return "";
}

NodePtr slot_node(Op op, Type type, const Slot& slot) {
  if (std::string mistake = bad_slot(slot); !mistake.empty()) return make_error(std::move(mistake));
  Node node;
  node.op = op;
  node.type = type;
  node.slot = slot;
  return intern(std::move(node));
}

Type type_of(ElementType element) {
  switch (element) {
    case ElementType::kI32:
    case ElementType::kI8:
      return Type::kInt;
    case ElementType::kBool:
      return Type::kPredicate;
    case ElementType::kF32:
    case ElementType::kBF16:
      break;
  }
  return Type::kFloat;
}

std::string bad_side(const Slot& slot, const char* side) {
  const std::string text = std::string("the ") + side + " side of 'dot', '" + slot.name + "', ";
  if (slot.kind != SlotKind::kBuffer || type_of(slot.element) != Type::kFloat) {
    return text + "is not a buffer of f32 or bf16";
  }
  if (slot.rank < 2 || slot.rank > 4) {
    return text + "has rank " + std::to_string(slot.rank) + ", not 2 to 4";
  }
  return "";
}

}  // namespace

bool Expr::valid() const noexcept { return node_ != nullptr && node_->op != Op::kError; }

std::string Expr::error() const {
  if (node_ == nullptr) return "the expression is empty";
  return node_->op == Op::kError ? node_->slot.name : "";
}

Type Expr::type() const noexcept { return node_ == nullptr ? Type::kInt : node_->type; }

Expr Expr::int_literal(int64_t value) {
  if (value < -kMaxInt || value > kMaxInt) {
    return Expr(make_error("the integer " + std::to_string(value) + " is beyond 2^40"));
  }
  Node node;
  node.op = Op::kLiteral;
  node.type = Type::kInt;
  node.literal.i = value;
  return Expr(intern(std::move(node)));
}

Expr Expr::float_literal(float value) {
  Node node;
  node.op = Op::kLiteral;
  node.type = Type::kFloat;
  node.literal.f = value == value ? value : std::numeric_limits<float>::quiet_NaN();
  return Expr(intern(std::move(node)));
}

Expr Expr::predicate_literal(bool value) {
  Node node;
  node.op = Op::kLiteral;
  node.type = Type::kPredicate;
  node.literal.i = value ? 1 : 0;
  return Expr(intern(std::move(node)));
}

Expr q() { return leaf(Op::kQ, Type::kInt); }
Expr kv() { return leaf(Op::kKv, Type::kInt); }
Expr b() { return leaf(Op::kB, Type::kInt); }
Expr h() { return leaf(Op::kH, Type::kInt); }
Expr hkv() { return leaf(Op::kHkv, Type::kInt); }
Expr q_len() { return leaf(Op::kQLen, Type::kInt); }
Expr kv_len() { return leaf(Op::kKvLen, Type::kInt); }
Expr score() { return leaf(Op::kScore, Type::kFloat); }

Expr iparam(std::string_view name) {
  return Expr(slot_node(Op::kParam, Type::kInt, {.name = std::string(name)}));
}

Expr fparam(std::string_view name) {
  const Slot slot{.name = std::string(name), .kind = SlotKind::kFloat};
  return Expr(slot_node(Op::kParam, Type::kFloat, slot));
}

Buffer buffer(std::string_view name, ElementType element, int32_t rank, Order order) {
  return Slot{.name = std::string(name),
              .kind = SlotKind::kBuffer,
              .element = element,
              .rank = rank,
              .sorted = order == Order::kSorted};
}

Expr Buffer::load(std::initializer_list<Expr> index) const {
  if (std::string mistake = bad_slot(slot_); !mistake.empty()) {
    return Expr(make_error(std::move(mistake)));
  }
  const std::string quoted = "'" + slot_.name + "'";
  if (slot_.kind != SlotKind::kBuffer || static_cast<size_t>(slot_.rank) != index.size()) {
    return Expr(make_error("buffer " + quoted + " of rank " + std::to_string(slot_.rank) + " has " +
                           std::to_string(index.size()) + " indices"));
  }
  Node node;
  node.op = Op::kLoad;
  node.type = type_of(slot_.element);
  node.slot = slot_;
  for (const Expr& i : index) {
    if (!i.valid()) return Expr(make_error(i.error()));
    if (i.type() != Type::kInt) {
      return Expr(make_error("index " + std::to_string(node.num_operands + 1) + " of " + quoted +
                             " is " + std::string(describe(i.type())) + ": " + excerpt(i.node())));
    }
    node.operands[node.num_operands++] = i.node();
  }
  return Expr(intern(std::move(node)));
}

Expr dot(const Buffer& q_side, const Buffer& kv_side) {
  for (std::string mistake : {bad_side(q_side.slot(), "q"), bad_side(kv_side.slot(), "kv")}) {
    if (!mistake.empty()) return Expr(make_error(std::move(mistake)));
  }
  return Expr(make_node(Op::kDot, Type::kFloat,
                        {slot_node(Op::kRows, Type::kFloat, q_side.slot()),
                         slot_node(Op::kRows, Type::kFloat, kv_side.slot())}));
}

namespace {

using Replaced = std::unordered_map<const Node*, NodePtr>;

// Recursion is bounded by kMaxDepth.
NodePtr replace_score(const NodePtr& node, const NodePtr& with, Replaced& replaced) {
  if (node->op == Op::kScore) return with;
  if ((node->depends & kDependsScore) == 0) return node;
  if (const auto found = replaced.find(node.get()); found != replaced.end()) return found->second;
  Node copy;
  copy.op = node->op;
  copy.type = node->type;
  copy.literal = node->literal;
  copy.slot = node->slot;
  for (const NodePtr& input : node->inputs()) {
    copy.operands[copy.num_operands++] = replace_score(input, with, replaced);
  }
  return replaced[node.get()] = intern(std::move(copy));
}

}  // namespace

Expr then(const Expr& first, const Expr& next) {
  if (!first.valid()) return Expr(make_error(first.error()));
  if (!next.valid()) return Expr(make_error(next.error()));
  const Expr scores = to_float(first);
  if (!scores.valid()) {
    return Expr(make_error("argument 1 of 'then' is a predicate: " + excerpt(first.node())));
  }
  Replaced replaced;
  return Expr(replace_score(next.node(), scores.node(), replaced));
}

}  // namespace attnrt::expr
