// SPDX-License-Identifier: Apache-2.0
// Dot products that extend the head dimension, softcap and ALiBi.
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>

#include "src/expr/recognise.hpp"

namespace attnrt::expr {
namespace {

class ScoreRecogniser {
 public:
  explicit ScoreRecogniser(ProgramData& program)
      : program_(program), linear_(linear_forms(program)), visited_(program.nodes.size(), false) {}

  Status run() {
    const int32_t root = static_cast<int32_t>(program_.nodes.size()) - 1;
    find_raw(root);
    if (misplaced_dot_) {
      return Status(Code::kInvalidArgument,
                    "'dot' may only be added to the raw score, once, before anything else uses "
                    "it: " +
                        excerpt(program_.source.node()));
    }
    program_.score_form.exact = raw_ >= 0 && (capped(root) || alibi(root));
    if (!program_.score_form.exact) program_.score_form = {};
    return {};
  }

 private:
  [[nodiscard]] const ProgramNode& at(int32_t node) const {
    return program_.nodes[static_cast<size_t>(node)];
  }

  // Finds the one node that stands for the raw score: score, or score plus dots.
  void find_raw(int32_t index) {
    if (visited_[static_cast<size_t>(index)]) return;
    visited_[static_cast<size_t>(index)] = true;
    std::vector<DotTerm> dots;
    if (sum_of_dots(index, dots)) {
      misplaced_dot_ |= raw_ >= 0 && raw_ != index && (!dots.empty() || !program_.dots.empty());
      raw_ = index;
      if (!dots.empty()) program_.dots = std::move(dots);
      return;
    }
    misplaced_dot_ |= at(index).op == Op::kDot;
    for (int i = 0; i < at(index).num_operands; ++i) {
      find_raw(at(index).operands[static_cast<size_t>(i)]);
    }
  }

  // score, or a sum along one chain of score and dots.
  bool sum_of_dots(int32_t index, std::vector<DotTerm>& dots) const {
    for (;;) {
      const ProgramNode& node = at(index);
      if (node.op == Op::kScore) return true;
      if (node.op != Op::kAdd && node.op != Op::kSub) return false;
      DotTerm term;
      if (dot_term(node.operands[1], term)) {
        term.negated ^= node.op == Op::kSub;
        index = node.operands[0];
      } else if (node.op == Op::kAdd && dot_term(node.operands[0], term)) {
        index = node.operands[1];
      } else {
        return false;
      }
      dots.push_back(term);
    }
  }

  // dot, -dot, or either times a scalar.
  bool dot_term(int32_t index, DotTerm& term) const {
    const ProgramNode& node = at(index);
    if (node.op == Op::kDot) {
      term.node = index;
      term.q_slot = at(node.operands[0]).slot;
      term.kv_slot = at(node.operands[1]).slot;
      return true;
    }
    if (node.op == Op::kNeg) {
      term.negated = !term.negated;
      return dot_term(node.operands[0], term);
    }
    if (node.op != Op::kMul || term.factor >= 0) return false;
    for (const auto& [factor, rest] : {std::pair(node.operands[0], node.operands[1]),
                                       std::pair(node.operands[1], node.operands[0])}) {
      if (at(factor).rank != Rank::kScalar) continue;
      term.factor = factor;
      return dot_term(rest, term);
    }
    return false;
  }

  // The raw score, or cap * tanh(raw / cap).
  bool capped(int32_t index) {
    if (index == raw_) return true;
    const ProgramNode& node = at(index);
    if (node.op != Op::kMul) return false;
    for (int side = 0; side < 2; ++side) {
      const int32_t cap = node.operands[static_cast<size_t>(side)];
      const int32_t tanh = node.operands[static_cast<size_t>(1 - side)];
      if (at(tanh).op == Op::kTanh && divided_by(at(tanh).operands[0], cap)) return set_cap(cap);
    }
    return false;
  }

  // raw / cap, or raw times the reciprocal of a literal.
  [[nodiscard]] bool divided_by(int32_t index, int32_t cap) const {
    const ProgramNode& node = at(index);
    if (node.op == Op::kDiv) return node.operands[0] == raw_ && node.operands[1] == cap;
    if (node.op != Op::kMul || at(cap).op != Op::kLiteral) return false;
    const int32_t other = node.operands[0] == raw_ ? node.operands[1] : node.operands[0];
    const bool uses_raw = node.operands[0] == raw_ || node.operands[1] == raw_;
    return uses_raw && at(other).op == Op::kLiteral &&
           at(other).literal.f == 1.0f / at(cap).literal.f;
  }

  bool set_cap(int32_t cap) {
    ScoreForm& form = program_.score_form;
    const ProgramNode& node = at(cap);
    if (node.op == Op::kLiteral && node.literal.f > 0.0f && std::isfinite(node.literal.f)) {
      form.softcap = node.literal.f;
    } else if (node.op == Op::kParam) {
      form.softcap_slot = node.slot;
    } else {
      return false;
    }
    form.has_softcap = true;
    return true;
  }

  // slope * distance, up to sign; sign 0: not of this form.
  struct Bias {
    int sign = 0;
    bool absolute = false;
    int32_t slope = -1;
    [[nodiscard]] Bias negated() const { return {-sign, absolute, slope}; }
  };

  // capped plus or minus slope * distance.
  bool alibi(int32_t index) {
    const ProgramNode& node = at(index);
    if (node.op != Op::kAdd && node.op != Op::kSub) return false;
    ScoreForm& form = program_.score_form;
    for (int side = 0; side < (node.op == Op::kAdd ? 2 : 1); ++side) {
      form = {};
      if (!capped(node.operands[static_cast<size_t>(side)])) continue;
      Bias bias = slope_times_distance(node.operands[static_cast<size_t>(1 - side)]);
      if (bias.sign == 0) continue;
      if (node.op == Op::kSub) bias = bias.negated();
      form.has_alibi = true;
      form.slope = bias.slope;
      form.alibi_absolute = bias.absolute;
      form.slope_negated = bias.absolute ? bias.sign > 0 : bias.sign < 0;
      return true;
    }
    return false;
  }

  [[nodiscard]] Bias slope_times_distance(int32_t index) const {
    const ProgramNode& node = at(index);
    if (node.op == Op::kNeg) return slope_times_distance(node.operands[0]).negated();
    if (node.op != Op::kMul) return {};
    for (int side = 0; side < 2; ++side) {
      const int32_t slope = node.operands[static_cast<size_t>(side)];
      if (at(slope).rank != Rank::kScalar) continue;
      Bias bias = distance(node.operands[static_cast<size_t>(1 - side)]);
      if (bias.sign == 0) continue;
      bias.slope = slope;
      return bias;
    }
    return {};
  }

  // kv - q or its absolute value, as a float, up to sign.
  [[nodiscard]] Bias distance(int32_t index) const {
    const ProgramNode& node = at(index);
    if (node.op == Op::kNeg) return distance(node.operands[0]).negated();
    if (node.op == Op::kToFloat) return distance(node.operands[0]);
    if (node.op != Op::kAbs) return {.sign = difference(index)};
    return {.sign = std::abs(difference(strip_to_float(node.operands[0]))), .absolute = true};
  }

  [[nodiscard]] int32_t strip_to_float(int32_t index) const {
    return at(index).op == Op::kToFloat ? at(index).operands[0] : index;
  }

  // 1 for kv - q, -1 for q - kv, else 0.
  [[nodiscard]] int difference(int32_t index) const {
    const std::optional<Linear>& x = linear_[static_cast<size_t>(index)];
    if (!x || x->constant != 0 || x->slot >= 0 || x->q + x->kv != 0) return 0;
    return std::abs(x->kv) == 1 ? static_cast<int>(x->kv) : 0;
  }

  ProgramData& program_;
  std::vector<std::optional<Linear>> linear_;
  std::vector<bool> visited_;
  int32_t raw_ = -1;
  bool misplaced_dot_ = false;
};

}  // namespace

Status recognise_score(ProgramData& program) { return ScoreRecogniser(program).run(); }

}  // namespace attnrt::expr
