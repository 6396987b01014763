// SPDX-License-Identifier: Apache-2.0
#include "src/expr/tile_registers.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "src/expr/tile_ops.hpp"

namespace attnrt::expr {
namespace {

size_t at(TileRank rank) { return static_cast<size_t>(rank); }

Type type_of(const TileStep& step, std::span<const Slot> slots) {
  switch (step.op) {
    case TileOp::kLiteralPredicate:
    case TileOp::kSelectPredicate:
      return Type::kPredicate;
    case TileOp::kLiteralFloat:
    case TileOp::kParamFloat:
    case TileOp::kDot:
    case TileOp::kSelectFloat:
      return Type::kFloat;
    case TileOp::kSelect:
      return Type::kInt;
    case TileOp::kLoad:
    case TileOp::kLoadRun:
      switch (slots[static_cast<size_t>(step.slot)].element) {
        case ElementType::kBool:
          return Type::kPredicate;
        case ElementType::kI32:
        case ElementType::kI8:
          return Type::kInt;
        default:
          return Type::kFloat;
      }
    default:
      if (step.op >= TileOp::kToFloat) return Type::kFloat;
      return step.op >= TileOp::kLess && step.op <= TileOp::kXor ? Type::kPredicate : Type::kInt;
  }
}

class Allocation {
 public:
  Allocation(std::vector<TileStep> steps, std::span<const Slot> slots)
      : steps_(std::move(steps)), slots_(slots) {}

  TileProgram run() {
    find_conjuncts();
    sort_by_rank();
    find_last_uses();
    write_result_in_place();
    for (size_t i = 0; i < order_.size(); ++i) place(i);
    TileCode code;
    for (size_t rank = 0; rank < kTileRanks; ++rank) {
      code.stage_end[rank] = stage_end_[rank];
      code.registers[rank] = used_[rank];
    }
    code.uses_head = uses_head_;
    return {std::move(done_), code};
  }

 private:
  // Operands come before their users, so one pass from the end finds who needs what.
  void find_conjuncts() {
    for (size_t i = steps_.size(); i-- > 0;) {
      for (const TileOperand& operand : steps_[i].operands) {
        if (operand.reg >= 0) {
          steps_[static_cast<size_t>(operand.reg)].conjuncts |= steps_[i].conjuncts;
        }
      }
    }
  }

  // An end stands right after what it needs, so that few values are kept.
  void sort_by_rank() {
    std::vector<std::vector<size_t>> ends(steps_.size());
    std::vector<size_t> first;
    for (size_t i = 0; i < steps_.size(); ++i) {
      if (!is_end(steps_[i].op)) continue;
      const TileOperand& operand = steps_[i].operands[0];
      const bool element = operand.rank == TileRank::kElement && operand.reg >= 0;
      (element ? ends[static_cast<size_t>(operand.reg)] : first).push_back(i);
    }
    for (int32_t rank = 0; rank < kTileRanks; ++rank) {
      if (rank == kTileRanks - 1) order_.insert(order_.end(), first.begin(), first.end());
      for (size_t i = 0; i < steps_.size(); ++i) {
        const TileStep& step = steps_[i];
        if (is_end(step.op) || step.conjuncts == 0 || at(step.rank) != static_cast<size_t>(rank)) {
          continue;
        }
        order_.push_back(i);
        order_.insert(order_.end(), ends[i].begin(), ends[i].end());
        uses_head_ = uses_head_ || step.op == TileOp::kH || step.op == TileOp::kHkv;
      }
      stage_end_[static_cast<size_t>(rank)] = static_cast<int32_t>(order_.size());
    }
  }

  // A value that a later stage reads is read again and again.
  void find_last_uses() {
    last_use_.assign(steps_.size(), 0);
    for (size_t i = 0; i < order_.size(); ++i) {
      const TileStep& step = steps_[order_[i]];
      for (const TileOperand& operand : step.operands) {
        if (operand.reg < 0) continue;
        const bool later = operand.rank != step.rank;
        size_t& last = last_use_[static_cast<size_t>(operand.reg)];
        last = later ? order_.size() : std::max(last, i);
      }
    }
    register_of_.assign(steps_.size(), -1);
    used_[at(TileRank::kElement)] = 1;  // the score
  }

  // The last step of a score writes the score itself: nobody reads it any more.
  void write_result_in_place() {
    const TileStep& end = steps_[order_.back()];
    const TileOperand& operand = end.operands[0];
    if (end.op != TileOp::kResult || operand.rank != TileRank::kElement || operand.reg < 0) return;
    final_ = static_cast<size_t>(operand.reg);
    order_.pop_back();
    --stage_end_[at(TileRank::kElement)];
  }

  // Steps on numbers of one type may write where they read; others write first what they read
  // later: rows of 128 bits, of 128 floats and of 128 wide ints overlap.
  void place(size_t i) {
    TileStep step = steps_[order_[i]];
    const std::array<TileOperand, 4> operands = {step.operands[0], step.operands[1],
                                                 step.operands[2], step.operands[3]};
    const bool loads = step.op == TileOp::kLoad || step.op == TileOp::kLoadRun;
    const Type type = is_end(step.op) ? Type::kFloat : type_of(step, slots_);
    const auto same_type = [&](const TileOperand& operand) {
      return !loads && type_of(steps_[static_cast<size_t>(operand.reg)], slots_) == type;
    };
    for (const TileOperand& operand : operands) {
      if (operand.reg >= 0 && same_type(operand)) release(operand, i);
    }
    for (TileOperand& operand : step.operands) {
      if (operand.reg >= 0) operand.reg = register_of_[static_cast<size_t>(operand.reg)];
      if (operand.reg == kScoreStep) operand.reg = 0;
    }
    if (!is_end(step.op)) {
      step.out = order_[i] == final_ ? 0 : acquire(step.rank);
      register_of_[order_[i]] = step.out;
    }
    for (const TileOperand& operand : operands) {
      if (operand.reg >= 0 && !same_type(operand)) release(operand, i);
    }
    done_.push_back(step);
  }

  int32_t acquire(TileRank rank) {
    std::vector<int32_t>& pool = free_[at(rank)];
    if (pool.empty()) return used_[at(rank)]++;
    const int32_t reg = pool.back();
    pool.pop_back();
    return reg;
  }

  void release(const TileOperand& operand, size_t now) {
    size_t& last = last_use_[static_cast<size_t>(operand.reg)];
    if (last != now) return;
    last = order_.size();  // a step may read a value twice
    free_[at(operand.rank)].push_back(register_of_[static_cast<size_t>(operand.reg)]);
  }

  std::vector<TileStep> steps_;
  std::span<const Slot> slots_;
  std::vector<size_t> order_;
  std::vector<size_t> last_use_;  // place in order_; its size: never free
  std::vector<int32_t> register_of_;
  std::array<std::vector<int32_t>, kTileRanks> free_;
  std::array<int32_t, kTileRanks> used_{};
  std::array<int32_t, kTileRanks> stage_end_{};
  bool uses_head_ = false;
  size_t final_ = std::numeric_limits<size_t>::max();  // writes the score
  std::vector<TileStep> done_;
};

}  // namespace

TileProgram allocate_registers(std::vector<TileStep> steps, std::span<const Slot> slots) {
  return Allocation(std::move(steps), slots).run();
}

}  // namespace attnrt::expr
