// SPDX-License-Identifier: Apache-2.0
// A mask as windows, document tables and the rest.
#include <algorithm>
#include <set>
#include <utility>

#include "src/expr/recognise.hpp"

namespace attnrt::expr {
namespace {

class MaskRecogniser {
 public:
  explicit MaskRecogniser(const ProgramData& program)
      : program_(program), linear_(linear_forms(program)) {}

  MaskForm run(int32_t node) {
    collect(node, false);
    return std::move(form_);
  }

 private:
  [[nodiscard]] const ProgramNode& at(int32_t node) const {
    return program_.nodes[static_cast<size_t>(node)];
  }
  [[nodiscard]] const std::optional<Linear>& linear(int32_t node) const {
    return linear_[static_cast<size_t>(node)];
  }

  // Each part once: sharing must not make this exponential. Recursion is bounded by kMaxDepth.
  void collect(int32_t index, bool negated) {
    if (!seen_.emplace(index, negated).second) return;
    const ProgramNode& node = at(index);
    const bool conjunction = node.op == (negated ? Op::kOr : Op::kAnd);
    if (conjunction) {
      collect(node.operands[0], negated);
      collect(node.operands[1], negated);
    } else if (node.op == Op::kNot) {
      collect(node.operands[0], !negated);
    } else if (!always(node, negated) && !comparison(node, negated)) {
      form_.rest.push_back({index, negated});
    }
  }

  static bool always(const ProgramNode& node, bool negated) {
    return node.op == Op::kLiteral && (node.literal.i != 0) != negated;
  }

  bool comparison(const ProgramNode& node, bool negated) {
    const int32_t x = node.operands[0];
    const int32_t y = node.operands[1];
    switch (node.op) {
      case Op::kLess:
        return negated ? at_most(y, x, 0) : at_most(x, y, -1);
      case Op::kLessEqual:
        return negated ? at_most(y, x, -1) : at_most(x, y, 0);
      case Op::kEqual:
        return !negated && equal(x, y);
      case Op::kNotEqual:
        return negated && equal(x, y);
      default:
        return false;
    }
  }

  // x <= y + slack
  bool at_most(int32_t x, int32_t y, int64_t slack) {
    if (at(x).type != Type::kInt) return false;
    if (at(x).op == Op::kAbs) return distance_at_most(at(x).operands[0], y, slack);
    if (!linear(x) || !linear(y)) return false;
    return bound(*linear(x), *linear(y), 1, slack);
  }

  // |x| <= y + slack, which is x <= y + slack and -x <= y + slack.
  bool distance_at_most(int32_t x, int32_t y, int64_t slack) {
    if (!linear(x) || !linear(y)) return false;
    const MaskForm before = form_;
    if (bound(*linear(x), *linear(y), 1, slack) && bound(*linear(x), *linear(y), -1, slack)) {
      return true;
    }
    form_ = before;
    return false;
  }

  // factor * x <= y + slack, if that bounds the distance between q and kv.
  bool bound(const Linear& x, const Linear& y, int64_t factor, int64_t slack) {
    if (x.slot >= 0 && y.slot >= 0 && x.slot != y.slot) return false;
    const int64_t q = factor * x.q - y.q;
    const int64_t kv = factor * x.kv - y.kv;
    const int64_t sign = y.sign - factor * x.sign;
    if (q + kv != 0 || std::abs(q) != 1 || std::abs(sign) > 1) return false;
    Bound made{.literal = y.constant + slack - factor * x.constant};
    if (sign != 0) {
      made.slot = x.slot >= 0 ? x.slot : y.slot;
      made.sign = static_cast<int32_t>(sign);
    }
    add(kv == 1 ? form_.right : form_.left, made);
    return true;
  }

  // Literal bounds of one side are one bound.
  static void add(std::vector<Bound>& bounds, const Bound& made) {
    for (Bound& old : bounds) {
      if (old.slot != made.slot || old.sign != made.sign) continue;
      old.literal = std::min(old.literal, made.literal);
      return;
    }
    bounds.push_back(made);
  }

  bool equal(int32_t x, int32_t y) {
    if (document(x, y)) return true;
    if (at(x).type != Type::kInt || !linear(x) || !linear(y)) return false;
    const MaskForm before = form_;
    if (bound(*linear(x), *linear(y), 1, 0) && bound(*linear(y), *linear(x), 1, 0)) return true;
    form_ = before;
    return false;
  }

  bool document(int32_t x, int32_t y) {
    const ProgramNode& left = at(x);
    const ProgramNode& right = at(y);
    const bool tables = left.op == Op::kLoad && right.op == Op::kLoad && left.slot == right.slot &&
                        left.type == Type::kInt && left.num_operands == 1;
    if (!tables) return false;
    const Op first = at(left.operands[0]).op;
    const Op second = at(right.operands[0]).op;
    const bool across =
        (first == Op::kQ && second == Op::kKv) || (first == Op::kKv && second == Op::kQ);
    if (!across) return false;
    if (std::ranges::find(form_.documents, left.slot) == form_.documents.end()) {
      form_.documents.push_back(left.slot);
    }
    return true;
  }

  const ProgramData& program_;
  std::vector<std::optional<Linear>> linear_;
  std::set<std::pair<int32_t, bool>> seen_;
  MaskForm form_;
};

}  // namespace

bool MaskForm::causal() const { return std::ranges::find(right, Bound{}) != right.end(); }

MaskForm recognise_mask(const ProgramData& program) {
  return recognise_part(program, static_cast<int32_t>(program.nodes.size()) - 1);
}

MaskForm recognise_part(const ProgramData& program, int32_t node) {
  return MaskRecogniser(program).run(node);
}

}  // namespace attnrt::expr
