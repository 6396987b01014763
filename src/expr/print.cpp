// SPDX-License-Identifier: Apache-2.0
// The text form of expressions. Shared sub-expressions of large graphs are written once, as lets:
// without them the text of a graph of n nodes can have 2^n characters.
#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "src/expr/graph.hpp"

namespace attnrt::expr {
namespace {

// Up to this many nodes a tree is more readable than lets.
constexpr uint32_t kMaxTree = 256;
constexpr size_t kMaxExcerpt = 60;
constexpr int kPrimary = 12;
constexpr int kUnary = 11;

class Printer {
 public:
  explicit Printer(size_t limit) : limit_(limit) {}

  std::string declare_and_print(const NodePtr& root) {
    visit(root);
    if (root->tree_size > kMaxTree) {
      for (const NodePtr& node : order_) {
        if (uses_[node.get()] < 2 || node->num_operands == 0 || node->op == Op::kRows) continue;
        std::string name = std::string("_").append(std::to_string(names_.size()));
        text_ += "let " + name + " = ";
        print(node, 0);
        text_ += "; ";
        names_.emplace(node.get(), std::move(name));
      }
    }
    print(root, 0);
    return std::move(text_);
  }

  std::string print_only(const NodePtr& root) {
    print(root, 0);
    return std::move(text_);
  }

 private:
  // Operands first; declares slots that the parser would take for something else.
  void visit(const NodePtr& node) {
    if (uses_[node.get()]++ > 0) return;
    for (const NodePtr& input : node->inputs()) visit(input);
    order_.push_back(node);
    const bool is_slot = node->op == Op::kParam || node->op == Op::kRows || node->op == Op::kLoad;
    if (is_slot && declared_.insert(node->slot.name).second) declare(node->op, node->slot);
  }

  void declare(Op op, const Slot& slot) {
    if (slot.kind == SlotKind::kInt) return;
    if (slot.kind == SlotKind::kFloat) {
      text_ += "float " + slot.name + "; ";
      return;
    }
    if (op == Op::kLoad && slot.element == ElementType::kI32 && !slot.sorted) return;
    if (slot.sorted) text_ += "sorted ";
    text_ += to_string(slot.element);
    text_ += " " + slot.name + std::string("[") +
             std::string(static_cast<size_t>(slot.rank - 1), ',') + "]; ";
  }

  void print(const NodePtr& node, int min_precedence) {
    if (text_.size() > limit_) return;
    if (const auto name = names_.find(node.get()); name != names_.end()) {
      text_ += name->second;
      return;
    }
    const int precedence = precedence_of(*node);
    const bool parentheses = precedence < min_precedence;
    if (parentheses) text_ += "(";
    print_bare(*node);
    if (parentheses) text_ += ")";
  }

  static int precedence_of(const Node& node) {
    if (node.op == Op::kLiteral) {
      const bool negative =
          node.type == Type::kFloat ? std::signbit(node.literal.f) : node.literal.i < 0;
      return negative && !std::isnan(node.literal.f) ? kUnary : kPrimary;
    }
    return info(node.op).precedence == 0 ? kPrimary : info(node.op).precedence;
  }

  void print_bare(const Node& node) {
    const OpInfo& op = info(node.op);
    switch (op.notation) {
      case Notation::kInfix:
        print(node.operands[0], op.precedence);
        text_ += " ";
        text_ += op.text;
        text_ += " ";
        print(node.operands[1], op.precedence + 1);
        break;
      case Notation::kPrefix:
        text_ += op.text;
        print(node.operands[0], kPrimary);
        break;
      case Notation::kCall:
        text_ += op.text;
        print_list(node, '(', ')');
        break;
      case Notation::kName:
        text_ += op.text;
        break;
      case Notation::kNone:
        print_own(node);
        break;
    }
  }

  // Literals, slots and errors.
  void print_own(const Node& node) {
    if (node.op == Op::kError) text_ += "error: ";
    if (node.op != Op::kLiteral) {
      text_ += node.slot.name;
      if (node.op == Op::kLoad) print_list(node, '[', ']');
      return;
    }
    if (node.type == Type::kFloat) {
      print_float(node.literal.f);
    } else if (node.type == Type::kInt) {
      text_ += std::to_string(node.literal.i);
    } else {
      text_ += node.literal.i != 0 ? "true" : "false";
    }
  }

  void print_list(const Node& node, char open, char close) {
    text_ += open;
    for (const NodePtr& input : node.inputs()) {
      if (&input != &node.operands[0]) text_ += ", ";
      print(input, 0);
    }
    text_ += close;
  }

  // The shortest digits that read back as the same float; never without '.', 'e' or a letter.
  void print_float(float value) {
    if (std::isnan(value)) {
      text_ += "nan";
      return;
    }
    std::array<char, 64> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    const std::string_view written(digits.data(), static_cast<size_t>(end - digits.data()));
    text_ += written;
    if (written.find_first_of(".en") == std::string_view::npos) text_ += ".0";
  }

  size_t limit_;
  std::string text_;
  std::vector<NodePtr> order_;
  std::unordered_map<const Node*, int> uses_;
  std::unordered_map<const Node*, std::string> names_;
  std::unordered_set<std::string> declared_;
};

}  // namespace

std::string to_string(const Expr& expression) {
  if (!expression.valid()) return "error: " + expression.error();
  return Printer(SIZE_MAX).declare_and_print(expression.node());
}

std::string excerpt(const NodePtr& node) {
  std::string text = Printer(kMaxExcerpt).print_only(node);
  if (text.size() <= kMaxExcerpt) return text;
  text.resize(kMaxExcerpt);
  return text + " ..";
}

}  // namespace attnrt::expr
