// SPDX-License-Identifier: Apache-2.0
// From a graph to a flat program: order of evaluation, slots, ranks, closed forms.
#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <unordered_map>

#include "src/expr/program.hpp"
#include "src/expr/recognise.hpp"

namespace attnrt::expr {
namespace {

std::string describe(const Slot& slot) {
  if (slot.kind == SlotKind::kInt) return "int";
  if (slot.kind == SlotKind::kFloat) return "float";
  return std::string(slot.sorted ? "sorted " : "") + to_string(slot.element) + "[" +
         std::string(static_cast<size_t>(slot.rank - 1), ',') + "]";
}

Rank rank_of(uint8_t depends) {
  const bool row = (depends & kDependsQ) != 0;
  const bool column = (depends & kDependsKv) != 0;
  if ((depends & kDependsScore) != 0 || (row && column)) return Rank::kElement;
  if (row) return Rank::kRow;
  return column ? Rank::kColumn : Rank::kScalar;
}

class Compiler {
 public:
  // Recursion is bounded by kMaxDepth.
  Status visit(const NodePtr& node) {
    if (index_.contains(node.get())) return {};
    for (const NodePtr& input : node->inputs()) {
      if (Status status = visit(input); !status.ok()) return status;
    }
    if (program_.nodes.size() == static_cast<size_t>(kMaxNodes)) {
      return Status(Code::kInvalidArgument,
                    "the expression has more than " + std::to_string(kMaxNodes) + " operations");
    }
    ProgramNode made;
    made.op = node->op;
    made.type = node->type;
    made.depends = node->depends;
    made.rank = rank_of(node->depends);
    made.literal = node->literal;
    for (const NodePtr& input : node->inputs()) {
      made.operands[made.num_operands++] = index_.at(input.get());
    }
    if (node->op == Op::kParam || node->op == Op::kLoad || node->op == Op::kRows) {
      if (Status status = find_slot(node->slot, made.slot); !status.ok()) return status;
    }
    index_.emplace(node.get(), static_cast<int32_t>(program_.nodes.size()));
    program_.nodes.push_back(made);
    return {};
  }

  ProgramData take(const Expr& source) {
    program_.depends = program_.nodes.back().depends;
    program_.source = source;
    return std::move(program_);
  }

 private:
  Status find_slot(const Slot& slot, int32_t& index) {
    auto found = std::ranges::find(program_.slots, slot.name, &Slot::name);
    if (found == program_.slots.end()) {
      if (program_.slots.size() == static_cast<size_t>(kMaxSlots)) {
        return Status(Code::kInvalidArgument,
                      "the expression has more than " + std::to_string(kMaxSlots) + " slots");
      }
      found = program_.slots.insert(found, slot);
    } else if (*found != slot) {
      return Status(Code::kInvalidArgument, "slot '" + slot.name + "' is used as " +
                                                describe(*found) + " and as " + describe(slot));
    }
    index = static_cast<int32_t>(found - program_.slots.begin());
    return {};
  }

  ProgramData program_;
  std::unordered_map<const Node*, int32_t> index_;
};

// The smallest sub-expression around a use of the score.
NodePtr user_of_score(NodePtr at) {
  const auto contains = [](const NodePtr& x) {
    return (x->depends & kDependsScore) != 0 && x->op != Op::kScore;
  };
  for (;;) {
    const auto inputs = at->inputs();
    const auto next = std::ranges::find_if(inputs, contains);
    if (next == inputs.end()) return at;
    at = NodePtr(*next);
  }
}

Status check_mask(const Expr& mask) {
  if (!mask.valid()) return Status(Code::kInvalidArgument, mask.error());
  if (mask.type() != Type::kPredicate) {
    return Status(Code::kInvalidArgument, "a mask is a predicate, this is " +
                                              std::string(describe(mask.type())) + ": " +
                                              excerpt(mask.node()));
  }
  if ((mask.node()->depends & kDependsScore) != 0) {
    return Status(Code::kInvalidArgument,
                  "a mask cannot depend on the score: " + excerpt(user_of_score(mask.node())));
  }
  return {};
}

Status check_score(const Expr& score) {
  if (!score.valid()) return Status(Code::kInvalidArgument, score.error());
  if (score.type() == Type::kPredicate) {
    return Status(Code::kInvalidArgument,
                  "a score is a float, this is a predicate: " + excerpt(score.node()));
  }
  return {};
}

Status flatten(const Expr& expression, ProgramData& program) {
  Compiler compiler;
  if (Status status = compiler.visit(expression.node()); !status.ok()) return status;
  program = compiler.take(expression);
  return {};
}

Status no_memory() { return Status(Code::kOutOfMemory, "no memory for the program"); }

}  // namespace

Status compile_mask(const Expr& expression, MaskProgram& program) {
  try {
    if (Status status = check_mask(expression); !status.ok()) return status;
    auto data = std::make_shared<ProgramData>();
    if (Status status = flatten(expression, *data); !status.ok()) return status;
    const auto is_dot = [](const ProgramNode& node) { return node.op == Op::kDot; };
    if (std::ranges::any_of(data->nodes, is_dot)) {
      return Status(Code::kInvalidArgument,
                    "a mask cannot contain 'dot': " + excerpt(expression.node()));
    }
    data->mask_form = recognise_mask(*data);
    program.data_ = std::move(data);
    return {};
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
}

Status compile_score(const Expr& expression, ScoreProgram& program) {
  try {
    if (Status status = check_score(expression); !status.ok()) return status;
    const Expr as_float = to_float(expression);
    if (!as_float.valid()) return Status(Code::kInvalidArgument, as_float.error());
    auto data = std::make_shared<ProgramData>();
    if (Status status = flatten(as_float, *data); !status.ok()) return status;
    if (Status status = recognise_score(*data); !status.ok()) return status;
    program.data_ = std::move(data);
    return {};
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
}

bool MaskProgram::uses_head() const noexcept {
  return valid() && (data_->depends & kDependsH) != 0;
}
bool MaskProgram::uses_batch() const noexcept {
  return valid() && (data_->depends & kDependsB) != 0;
}
std::span<const Slot> MaskProgram::slots() const noexcept {
  return valid() ? std::span<const Slot>(data_->slots) : std::span<const Slot>();
}

bool ScoreProgram::uses_head() const noexcept {
  return valid() && (data_->depends & kDependsH) != 0;
}
bool ScoreProgram::uses_batch() const noexcept {
  return valid() && (data_->depends & kDependsB) != 0;
}
bool ScoreProgram::uses_score() const noexcept {
  return valid() && (data_->depends & kDependsScore) != 0;
}
std::span<const Slot> ScoreProgram::slots() const noexcept {
  return valid() ? std::span<const Slot>(data_->slots) : std::span<const Slot>();
}

}  // namespace attnrt::expr
