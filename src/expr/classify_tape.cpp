// SPDX-License-Identifier: Apache-2.0
#include "src/expr/classify_tape.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <tuple>

#include "src/expr/abstract_value.hpp"
#include "src/expr/magnitudes.hpp"

namespace attnrt::expr {
namespace {

// Terms may be moved to the other side of a comparison while nothing can wrap.
constexpr double kMaxMagnitude = 0x1p62;

// A comparison is taken apart into at most this many terms; what is larger stays an operand.
constexpr int kMaxTerms = 32;

// Conjunctions are flattened up to this many operands, to find p && .. && !p.
constexpr size_t kMaxConjuncts = 64;

Rank join_ranks(Rank x, Rank y) {
  if (x == y || y == Rank::kScalar) return x;
  return x == Rank::kScalar ? y : Rank::kElement;
}

/// constant + sum of factor * step.
struct LinearForm {
  std::map<Ref, int64_t> terms;
  int64_t constant = 0;
  double magnitude = 0;  // of everything that was added up, before terms cancel
  int visits = 0;
};

class Builder {
 public:
  explicit Builder(const ProgramData& program)
      : program_(program), magnitude_(magnitudes(program)) {}

  ClassifyTape build() {
    lowered_.assign(program_.nodes.size(), -1);
    for (size_t i = 0; i < program_.nodes.size(); ++i) lowered_[i] = lower(i);
    tape_.result = lowered_.back();
    tape_.depends = program_.nodes.back().depends;
    find_conjuncts(static_cast<int32_t>(program_.nodes.size()) - 1);
    mark_ends(tape_.result);
    finish();
    return std::move(tape_);
  }

 private:
  Ref add(TapeStep step) {
    if (step.op == Op::kQ) step.rank = Rank::kRow;
    if (step.op == Op::kKv) step.rank = Rank::kColumn;
    for (const Ref operand : step.operands) {
      if (operand >= 0) step.rank = join_ranks(step.rank, tape_.steps[step_of(operand)].rank);
    }
    const auto [at, inserted] = known_.try_emplace(step, static_cast<Ref>(2 * tape_.steps.size()));
    if (inserted) tape_.steps.push_back(step);
    return at->second;
  }

  Ref literal(int64_t value) {
    TapeStep step;
    step.literal.i = value;
    return add(step);
  }

  Ref truth(bool value) {
    TapeStep step;
    step.type = Type::kPredicate;
    step.literal.i = 1;
    return add(step) ^ (value ? 0 : 1);
  }

  Ref binary(Op op, Ref x, Ref y) {
    TapeStep step;
    step.op = op;
    step.operands = {x, y, -1, -1};
    return add(step);
  }

  Ref lower(size_t index) {
    const ProgramNode& node = program_.nodes[index];
    switch (node.op) {
      case Op::kLess:
      case Op::kLessEqual:
      case Op::kEqual:
      case Op::kNotEqual:
        return compare(node);
      case Op::kAnd:
        return conjunction(operand(node, 0), operand(node, 1));
      case Op::kOr:
        return conjunction(operand(node, 0) ^ 1, operand(node, 1) ^ 1) ^ 1;
      case Op::kNot:
        return operand(node, 0) ^ 1;
      case Op::kLiteral:
        if (node.type == Type::kPredicate) return truth(node.literal.i != 0);
        break;
      default:
        break;
    }
    TapeStep step;
    step.op = node.op;
    step.type = node.type;
    step.slot = node.slot;
    step.literal = node.literal;
    for (int i = 0; i < node.num_operands; ++i) {
      step.operands[static_cast<size_t>(i)] = operand(node, i);
    }
    return add(step);
  }

  [[nodiscard]] Ref operand(const ProgramNode& node, int i) const {
    return lowered_[static_cast<size_t>(node.operands[static_cast<size_t>(i)])];
  }

  void take_apart(int32_t index, int64_t factor, LinearForm& form) {
    const ProgramNode& node = program_.nodes[static_cast<size_t>(index)];
    if (++form.visits <= kMaxTerms) {
      switch (node.op) {
        case Op::kLiteral:
          return add_term(form, -1, factor, node.literal.i, 1);
        case Op::kNeg:
          return take_apart(node.operands[0], -factor, form);
        case Op::kAdd:
        case Op::kSub:
          take_apart(node.operands[0], factor, form);
          return take_apart(node.operands[1], node.op == Op::kSub ? -factor : factor, form);
        default:
          break;
      }
    }
    add_term(form, lowered_[static_cast<size_t>(index)], factor, 1,
             magnitude_[static_cast<size_t>(index)]);
  }

  static void add_term(LinearForm& form, Ref ref, int64_t factor, int64_t scale, double magnitude) {
    form.magnitude += std::abs(static_cast<double>(factor) * static_cast<double>(scale)) *
                      std::max(1.0, magnitude);
    if (!(form.magnitude < kMaxMagnitude)) return;
    if (ref < 0) {
      form.constant += factor * scale;
      return;
    }
    if ((form.terms[ref] += factor * scale) == 0) form.terms.erase(ref);
  }

  /// x - y, with at most one level of |..| taken apart by the caller.
  LinearForm difference(int32_t x, int32_t y) {
    LinearForm form;
    take_apart(x, 1, form);
    take_apart(y, -1, form);
    return form;
  }

  Ref compare(const ProgramNode& node) {
    Op op = node.op;
    const int32_t x = node.operands[0];
    const int32_t y = node.operands[1];
    if (program_.nodes[static_cast<size_t>(x)].type == Type::kInt) {
      const LinearForm form = difference(x, y);
      if (form.magnitude < kMaxMagnitude) return compare_sum(op, form);
    }
    TapeStep step;
    step.op = op == Op::kNotEqual ? Op::kEqual : op;
    step.type = program_.nodes[static_cast<size_t>(x)].type;
    // != of floats is the negation of == with a NaN as well.
    step.operands = {operand(node, 0), operand(node, 1), -1, -1};
    return add(step) ^ (op == Op::kNotEqual ? 1 : 0);
  }

  Ref compare_sum(Op op, const LinearForm& form) {
    if (op == Op::kEqual || op == Op::kNotEqual) {
      return equal_to(form, -form.constant) ^ (op == Op::kNotEqual ? 1 : 0);
    }
    return at_most(form, -form.constant - (op == Op::kLess ? 1 : 0));
  }

  [[nodiscard]] bool negative(const LinearForm& form) const {
    return !form.terms.empty() && form.terms.begin()->second < 0;
  }

  static LinearForm opposite(const LinearForm& form) {
    LinearForm out = form;
    for (auto& [ref, factor] : out.terms) factor = -factor;
    return out;
  }

  /// sum of terms <= bound. |z| + rest <= bound is z + rest <= bound && -z + rest <= bound.
  Ref at_most(const LinearForm& form, int64_t bound) {
    for (const auto& [ref, factor] : form.terms) {
      const TapeStep step = tape_.steps[step_of(ref)];
      if (step.op != Op::kAbs || std::abs(factor) != 1) continue;
      LinearForm rest = form;
      rest.terms.erase(ref);
      if (factor < 0) return without_abs(opposite(rest), step.operands[0], -bound - 1) ^ 1;
      return without_abs(rest, step.operands[0], bound);
    }
    // Of a form and its opposite only one becomes a step, so p || !p is seen.
    if (negative(form)) return sum_step(Op::kLessEqual, opposite(form), -bound - 1) ^ 1;
    return sum_step(Op::kLessEqual, form, bound);
  }

  Ref without_abs(const LinearForm& rest, Ref inner, int64_t bound) {
    LinearForm above = rest;
    LinearForm below = rest;
    add_step(above, inner, 1);
    add_step(below, inner, -1);
    const Ref x = at_most(above, bound);
    return conjunction(x, at_most(below, bound));
  }

  /// Adds factor * step, taking sums apart. Magnitudes were counted through the |..| around it.
  void add_step(LinearForm& form, Ref ref, int64_t factor) {
    const TapeStep step = tape_.steps[step_of(ref)];
    if (++form.visits <= 2 * kMaxTerms && (step.op == Op::kAdd || step.op == Op::kSub)) {
      add_step(form, step.operands[0], factor);
      return add_step(form, step.operands[1], step.op == Op::kSub ? -factor : factor);
    }
    if ((form.terms[ref] += factor) == 0) form.terms.erase(ref);
  }

  Ref equal_to(const LinearForm& form, int64_t bound) {
    if (negative(form)) return sum_step(Op::kEqual, opposite(form), -bound);
    return sum_step(Op::kEqual, form, bound);
  }

  Ref sum_step(Op op, const LinearForm& form, int64_t bound) {
    if (form.terms.empty()) return truth(op == Op::kEqual ? bound == 0 : 0 <= bound);
    std::array<LinearForm, 3> part;
    for (const auto& [ref, factor] : form.terms) {
      const Rank rank = tape_.steps[step_of(ref)].rank;
      const size_t side = rank == Rank::kColumn ? 1 : rank == Rank::kElement ? 2 : 0;
      part[side].terms[ref] = factor;
    }
    TapeStep step;
    step.op = op;
    step.sum = true;
    step.literal.i = bound;
    step.kv_negated = negative(part[1]);
    step.operands[0] = materialize(part[0]);
    step.operands[1] = materialize(step.kv_negated ? opposite(part[1]) : part[1]);
    step.operands[2] = materialize(part[2]);
    return add(step);
  }

  Ref materialize(const LinearForm& form) {
    Ref sum = -1;
    for (const auto& [ref, factor] : form.terms) {
      const int64_t scale = std::abs(factor);
      const Ref term = scale == 1 ? ref : binary(Op::kMul, ref, literal(scale));
      if (sum < 0) {
        sum = factor > 0 ? term : binary(Op::kSub, literal(0), term);
      } else {
        sum = binary(factor > 0 ? Op::kAdd : Op::kSub, sum, term);
      }
    }
    return sum;
  }

  void flatten(Ref ref, std::vector<Ref>& out) const {
    const TapeStep& step = tape_.steps[step_of(ref)];
    if (step.op == Op::kAnd && !negated(ref) && out.size() < kMaxConjuncts) {
      flatten(step.operands[0], out);
      flatten(step.operands[1], out);
    } else {
      out.push_back(ref);
    }
  }

  Ref conjunction(Ref x, Ref y) {
    const Ref yes = truth(true);
    std::vector<Ref> operands;
    flatten(x, operands);
    flatten(y, operands);
    std::sort(operands.begin(), operands.end());
    operands.erase(std::unique(operands.begin(), operands.end()), operands.end());
    std::erase(operands, yes);
    for (size_t i = 0; i < operands.size(); ++i) {
      if (operands[i] == (yes ^ 1)) return yes ^ 1;
      if (i > 0 && operands[i] == (operands[i - 1] ^ 1)) return yes ^ 1;
    }
    if (operands.empty()) return yes;
    Ref all = operands[0];
    for (size_t i = 1; i < operands.size(); ++i) {
      TapeStep step;
      step.op = Op::kAnd;
      step.type = Type::kPredicate;
      step.operands = {all, operands[i], -1, -1};
      all = add(step);
    }
    return all;
  }

  void find_conjuncts(int32_t index) {
    const ProgramNode& node = program_.nodes[static_cast<size_t>(index)];
    if (node.op == Op::kAnd && tape_.conjuncts.size() < kMaxConjuncts - 2) {
      find_conjuncts(node.operands[0]);
      find_conjuncts(node.operands[1]);
      return;
    }
    tape_.conjuncts.push_back(index);
    tape_.conjunct_results.push_back(lowered_[static_cast<size_t>(index)]);
  }

  void mark_ends(Ref result) {
    std::vector<Ref> operands;
    flatten(result, operands);
    for (const Ref ref : operands) {
      tape_.steps[step_of(ref)].ends_unless = negated(ref) ? kCanBeFalse : kCanBeTrue;
    }
  }

  static bool asks_for_bits(const TapeStep& step) {
    switch (step.op) {
      case Op::kBitAnd:
      case Op::kBitOr:
      case Op::kBitXor:
      case Op::kShiftLeft:
      case Op::kShiftRight:
      case Op::kFloorMod:
        return true;
      default:
        return false;
    }
  }

  /// Marks what the result needs, and where known bits are asked for, from the end backwards.
  void finish() {
    std::vector<bool> live(tape_.steps.size());
    live[step_of(tape_.result)] = true;
    if (tape_.steps[step_of(tape_.result)].op != Op::kLiteral) {
      for (const Ref ref : tape_.conjunct_results) live[step_of(ref)] = true;
    }
    for (size_t i = tape_.steps.size(); i-- > 0;) {
      if (!live[i]) continue;
      const TapeStep& step = tape_.steps[i];
      const bool bits = step.wants_bits || asks_for_bits(step);
      for (const Ref operand : step.operands) {
        if (operand < 0) continue;
        TapeStep& input = tape_.steps[step_of(operand)];
        live[step_of(operand)] = true;
        if (input.type == Type::kInt && bits) input.wants_bits = true;
        // Equality can be told from bits, but only bit operations and remainders know more of
        // them than the range does.
        if (step.op == Op::kEqual && asks_for_bits(input)) {
          input.wants_bits = true;
          tape_.steps[i].wants_bits = true;
        }
      }
    }
    for (size_t i = 0; i < tape_.steps.size(); ++i) {
      if (!live[i]) continue;
      tape_.order[static_cast<size_t>(tape_.steps[i].rank)].push_back(static_cast<int32_t>(i));
    }
  }

  const ProgramData& program_;
  std::vector<double> magnitude_;
  std::vector<Ref> lowered_;
  std::map<TapeStep, Ref> known_;
  ClassifyTape tape_;
};

}  // namespace

bool TapeStep::operator<(const TapeStep& other) const {
  const auto key = [](const TapeStep& step) {
    return std::tuple(step.op, step.type, step.sum, step.kv_negated, step.slot, step.operands,
                      step.literal.i, std::bit_cast<uint32_t>(step.literal.f));
  };
  return key(*this) < key(other);
}

ClassifyTape make_tape(const ProgramData& program) { return Builder(program).build(); }

}  // namespace attnrt::expr
