// SPDX-License-Identifier: Apache-2.0
// The classifier's tape to steps of tile machines: its comparisons have terms of q and of kv on
// opposite sides already, so that a comparison of a tile is one of a number per row with a number
// per column.
#include "src/expr/lower_tile.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <tuple>
#include <utility>

#include "src/expr/classify_tape.hpp"
#include "src/expr/tile_ops.hpp"
#include "src/expr/tile_registers.hpp"

namespace attnrt::expr {
namespace {

TileRank join_ranks(TileRank x, TileRank y) {
  if (x == y || y == TileRank::kUniform) return x;
  return x == TileRank::kUniform ? y : TileRank::kElement;
}

bool varies_with_kv(TileRank rank) {
  return rank == TileRank::kColumn || rank == TileRank::kElement;
}

constexpr auto kOrdered = [](const TileStep& step) {
  const auto operand = [&](size_t i) {
    return std::tuple(step.operands[i].reg, step.operands[i].negated);
  };
  return std::tuple(step.op, step.slot, step.kv_slot, step.run_dimension, step.descending,
                    step.int_literal, std::bit_cast<uint32_t>(step.float_literal), operand(0),
                    operand(1), operand(2), operand(3));
};

struct StepOrder {
  bool operator()(const TileStep& x, const TileStep& y) const { return kOrdered(x) < kOrdered(y); }
};

/// sign * operand.
struct Term {
  TileOperand operand;
  int sign = 1;
};

class Lowering {
 public:
  explicit Lowering(const ProgramData& program)
      : program_(program), tape_(make_tape(program)), values_(tape_.steps.size()) {}

  TileProgram mask() {
    for (const Ref ref : tape_.conjunct_results) mark(ref);
    lower_live();
    for (size_t i = 0; i < tape_.conjunct_results.size(); ++i) {
      TileStep step = make(TileOp::kConjunct, {value(tape_.conjunct_results[i])});
      step.rank = TileRank::kElement;
      step.conjuncts = uint64_t{1} << i;
      steps_.push_back(step);
    }
    fuse_steps(steps_);
    return allocate_registers(std::move(steps_), program_.slots);
  }

  TileProgram score() {
    mark(tape_.result);
    lower_live();
    for (TileStep& step : steps_) step.conjuncts = 0;
    TileStep result = make(TileOp::kResult, {value(tape_.result)});
    result.rank = TileRank::kElement;
    result.conjuncts = ~uint64_t{0};
    steps_.push_back(result);
    fuse_steps(steps_);
    return allocate_registers(std::move(steps_), program_.slots);
  }

 private:
  void mark(Ref ref) {
    if (live_.empty()) live_.resize(tape_.steps.size());
    std::vector<size_t> open = {step_of(ref)};
    while (!open.empty()) {
      const size_t at = open.back();
      open.pop_back();
      if (live_[at]) continue;
      live_[at] = true;
      for (const Ref operand : tape_.steps[at].operands) {
        if (operand >= 0) open.push_back(step_of(operand));
      }
    }
  }

  void lower_live() {
    for (size_t i = 0; i < tape_.steps.size(); ++i) {
      if (live_[i]) values_[i] = lower(tape_.steps[i]);
    }
  }

  [[nodiscard]] TileOperand value(Ref ref) const {
    TileOperand operand = values_[step_of(ref)];
    operand.negated ^= negated(ref);
    return operand;
  }

  static TileStep make(TileOp op, std::initializer_list<TileOperand> operands) {
    TileStep step;
    step.op = op;
    step.conjuncts = 0;
    for (const TileOperand& operand : operands) {
      step.operands[step.num_operands++] = operand;
      step.rank = join_ranks(step.rank, operand.rank);
    }
    return step;
  }

  /// The register, numbered as the step, that has the step's value.
  TileOperand add(TileStep step) {
    const auto [at, inserted] = known_.try_emplace(step, static_cast<int32_t>(steps_.size()));
    if (inserted) {
      step.out = at->second;
      steps_.push_back(step);
    }
    return {at->second, step.rank, false};
  }

  TileOperand leaf(TileOp op, TileRank rank) {
    TileStep step = make(op, {});
    step.rank = rank;
    return add(step);
  }

  TileOperand literal(int64_t number) {
    TileStep step = make(TileOp::kLiteralInt, {});
    step.int_literal = number;
    return add(step);
  }

  TileOperand apply(TileOp op, TileOperand x, TileOperand y) {
    if (commutes(op) && varies_with_kv(y.rank) && !varies_with_kv(x.rank)) std::swap(x, y);
    return add(make(op, {x, y}));
  }

  TileOperand lower(const TapeStep& step) {
    switch (step.op) {
      case Op::kQ:
        return leaf(TileOp::kQ, TileRank::kRow);
      case Op::kKv:
        return leaf(TileOp::kKv, TileRank::kColumn);
      case Op::kB:
        return leaf(TileOp::kB, TileRank::kUniform);
      case Op::kH:
        return leaf(TileOp::kH, TileRank::kRow);
      case Op::kHkv:
        return leaf(TileOp::kHkv, TileRank::kRow);
      case Op::kQLen:
        return leaf(TileOp::kQLen, TileRank::kUniform);
      case Op::kKvLen:
        return leaf(TileOp::kKvLen, TileRank::kUniform);
      case Op::kScore:
        return {kScoreStep, TileRank::kElement, false};
      case Op::kLiteral:
      case Op::kParam:
        return lower_constant(step);
      case Op::kRows:
        return {};
      case Op::kDot: {
        TileStep dot = make(TileOp::kDot, {});
        dot.rank = TileRank::kElement;
        dot.slot = tape_.steps[step_of(step.operands[0])].slot;
        dot.kv_slot = tape_.steps[step_of(step.operands[1])].slot;
        return add(dot);
      }
      case Op::kLoad:
        return lower_load(step);
      default:
        return step.sum ? lower_sum(step) : lower_operation(step);
    }
  }

  TileOperand lower_constant(const TapeStep& step) {
    const bool literal = step.op == Op::kLiteral;
    const TileOp op = step.type == Type::kFloat
                          ? literal ? TileOp::kLiteralFloat : TileOp::kParamFloat
                      : step.type == Type::kInt ? literal ? TileOp::kLiteralInt : TileOp::kParamInt
                                                : TileOp::kLiteralPredicate;
    TileStep made = make(op, {});
    made.slot = step.slot;
    made.int_literal = step.literal.i;
    made.float_literal = step.literal.f;
    return add(made);
  }

  TileOperand lower_operation(const TapeStep& step) {
    const TileOp op = tile_op(step.op, step.type);
    TileStep made = make(op, {});
    for (const Ref ref : step.operands) {
      if (ref < 0) continue;
      made.operands[made.num_operands++] = value(ref);
      made.rank = join_ranks(made.rank, value(ref).rank);
    }
    if (made.num_operands == 2) return apply(op, made.operands[0], made.operands[1]);
    return add(made);
  }

  // base + sign * kv, where that is what an index is.
  struct Run {
    TileOperand base;
    bool descending = false;
  };

  bool find_run(Ref ref, Run& run) {
    const TapeStep& step = tape_.steps[step_of(ref)];
    if (step.op == Op::kKv) return true;
    if (step.op != Op::kAdd && step.op != Op::kSub) return false;
    const TileOperand x = value(step.operands[0]);
    const TileOperand y = value(step.operands[1]);
    const bool subtract = step.op == Op::kSub;
    if (!varies_with_kv(x.rank) && find_run(step.operands[1], run)) {
      if (run.base.reg == -1) {
        run.base = x;
      } else {
        run.base = apply(subtract ? TileOp::kSub : TileOp::kAdd, x, run.base);
      }
      run.descending ^= subtract;
      return true;
    }
    if (!varies_with_kv(y.rank) && find_run(step.operands[0], run)) {
      const TileOperand base = run.base.reg == -1 ? literal(0) : run.base;
      run.base = apply(subtract ? TileOp::kSub : TileOp::kAdd, base, y);
      return true;
    }
    return false;
  }

  TileOperand lower_load(const TapeStep& step) {
    TileStep made = make(TileOp::kLoad, {});
    int32_t moving = 0;
    for (const Ref ref : step.operands) {
      if (ref < 0) continue;
      const TileOperand index = value(ref);
      made.operands[made.num_operands] = index;
      made.rank = join_ranks(made.rank, index.rank);
      if (varies_with_kv(index.rank)) {
        made.run_dimension = made.num_operands;
        ++moving;
      }
      ++made.num_operands;
    }
    made.slot = step.slot;
    const int8_t dimension = std::exchange(made.run_dimension, int8_t{-1});
    Run run;
    if (moving == 1 && find_run(step.operands[static_cast<size_t>(dimension)], run)) {
      made.op = TileOp::kLoadRun;
      made.run_dimension = dimension;
      made.descending = run.descending;
      made.operands[dimension] = run.base;
    }
    return add(made);
  }

  /// All terms as one; none: reg -1.
  Term sum_of(const std::vector<Term>& terms) {
    Term sum;
    for (const Term& term : terms) {
      if (sum.operand.reg == -1) {
        sum = term;
      } else if (sum.sign == term.sign) {
        sum.operand = apply(TileOp::kAdd, sum.operand, term.operand);
      } else if (sum.sign > 0) {
        sum.operand = apply(TileOp::kSub, sum.operand, term.operand);
      } else {
        sum = {apply(TileOp::kSub, term.operand, sum.operand), 1};
      }
    }
    return sum;
  }

  /// x + number, without a step where that is x.
  TileOperand plus(TileOperand x, int64_t number) {
    if (number == 0) return x;
    return number > 0 ? apply(TileOp::kAdd, x, literal(number))
                      : apply(TileOp::kSub, x, literal(-number));
  }

  /// Terms on the left vary with kv, those on the right do not. What is on the right is worked out
  /// once a row; bounds of 0 and -1 need no sum, which could leave 32 bits.
  TileOperand lower_sum(const TapeStep& step) {
    std::vector<Term> left;
    std::vector<Term> right;
    for (size_t i = 0; i < 3; ++i) {
      if (step.operands[i] < 0) continue;
      const Term term{value(step.operands[i]), i == 1 && step.kv_negated ? -1 : 1};
      (varies_with_kv(term.operand.rank) ? left : right).push_back(term);
    }
    if (left.empty()) {
      left.push_back(right.back());
      right.pop_back();
    }
    const Term x = sum_of(left);
    const Term y = sum_of(right);
    const int64_t bound = step.literal.i;
    if (step.op == Op::kEqual) return equal(x, y, bound);
    return at_most(x, y, bound);
  }

  TileOperand equal(const Term& x, const Term& y, int64_t bound) {
    TileOperand to;
    if (y.operand.reg == -1) {
      to = literal(x.sign * bound);
    } else if (x.sign != y.sign) {
      to = plus(y.operand, x.sign * bound);
    } else {
      to = apply(TileOp::kSub, literal(x.sign * bound), y.operand);
    }
    return apply(TileOp::kEqual, x.operand, to);
  }

  TileOperand at_most(const Term& x, const Term& y, int64_t bound) {
    if (y.operand.reg == -1) {
      return x.sign > 0 ? apply(TileOp::kLessEqual, x.operand, literal(bound))
                        : apply(TileOp::kLessEqual, literal(-bound), x.operand);
    }
    if (x.sign == y.sign) {
      const TileOperand to = apply(TileOp::kSub, literal(x.sign * bound), y.operand);
      return x.sign > 0 ? apply(TileOp::kLessEqual, x.operand, to)
                        : apply(TileOp::kLessEqual, to, x.operand);
    }
    const TileOp op = bound == -1 ? TileOp::kLess : TileOp::kLessEqual;
    if (bound == -1) bound = 0;
    const TileOperand to = plus(y.operand, x.sign * bound);
    return x.sign > 0 ? apply(op, x.operand, to) : apply(op, to, x.operand);
  }

  const ProgramData& program_;
  const ClassifyTape tape_;
  std::vector<bool> live_;
  std::vector<TileOperand> values_;  // of the tape's steps; reg: a step below
  std::vector<TileStep> steps_;
  std::map<TileStep, int32_t, StepOrder> known_;
};

}  // namespace

TileProgram::TileProgram(std::vector<TileStep> steps, const TileCode& code)
    : steps_(std::move(steps)), code_(code) {}

TileProgram lower_mask(const ProgramData& program) { return Lowering(program).mask(); }
TileProgram lower_score(const ProgramData& program) { return Lowering(program).score(); }

}  // namespace attnrt::expr
