// SPDX-License-Identifier: Apache-2.0
// Steps of tile programs that are done as one: half the passes over registers for biases and
// slopes.
#include <utility>

#include "src/expr/tile_ops.hpp"
#include "src/expr/tile_registers.hpp"

namespace attnrt::expr {
namespace {

bool varies_with_kv(const TileOperand& operand) {
  return operand.rank == TileRank::kColumn || operand.rank == TileRank::kElement;
}

/// How many operands of steps that an end needs read each step.
std::vector<int32_t> count_readers(const std::vector<TileStep>& steps) {
  std::vector<int32_t> readers(steps.size(), 0);
  for (size_t i = steps.size(); i-- > 0;) {
    if (readers[i] == 0 && !is_end(steps[i].op)) continue;
    for (const TileOperand& operand : steps[i].operands) {
      if (operand.reg >= 0) ++readers[static_cast<size_t>(operand.reg)];
    }
  }
  return readers;
}

}  // namespace

void fuse_steps(std::vector<TileStep>& steps) {
  const std::vector<int32_t> readers = count_readers(steps);
  const auto only_read_here = [&](const TileOperand& operand, TileOp op) {
    if (operand.reg < 0 || operand.rank != TileRank::kElement) return false;
    const auto at = static_cast<size_t>(operand.reg);
    return steps[at].op == op && readers[at] == 1;
  };
  const auto source = [&](const TileOperand& operand) -> const TileStep& {
    return steps[static_cast<size_t>(operand.reg)];
  };
  // A table of the highest rank leaves no room for what it is added to.
  const auto fuse_load = [&](TileStep& step) {
    if (only_read_here(step.operands[0], TileOp::kLoadRun)) {
      std::swap(step.operands[0], step.operands[1]);
    }
    if (!varies_with_kv(step.operands[0])) return false;
    if (!only_read_here(step.operands[1], TileOp::kLoadRun)) return false;
    TileStep load = source(step.operands[1]);
    if (load.num_operands == kMaxOperandsOfStep) return false;
    load.op = TileOp::kAddRun;
    load.operands[load.num_operands++] = step.operands[0];
    load.out = step.out;
    load.conjuncts = step.conjuncts;
    step = load;
    return true;
  };
  const auto fuse_difference = [&](TileStep& step) {
    if (varies_with_kv(step.operands[1])) return;
    if (!only_read_here(step.operands[0], TileOp::kDifferenceToFloat)) return;
    const TileStep& difference = source(step.operands[0]);
    step.op = TileOp::kScaledDifference;
    step.num_operands = 3;
    step.operands[2] = step.operands[1];
    step.operands[1] = difference.operands[1];
    step.operands[0] = difference.operands[0];
  };
  for (TileStep& step : steps) {
    if (step.op == TileOp::kMulFloat) fuse_difference(step);
    if (step.op == TileOp::kToFloat && only_read_here(step.operands[0], TileOp::kSub)) {
      const TileStep& difference = source(step.operands[0]);
      step.op = TileOp::kDifferenceToFloat;
      step.num_operands = 2;
      step.operands[1] = difference.operands[1];
      step.operands[0] = difference.operands[0];
      continue;
    }
    if (step.op != TileOp::kAddFloat && step.op != TileOp::kSubFloat) continue;
    const bool add = step.op == TileOp::kAddFloat;
    if (add && fuse_load(step)) continue;
    if (add && only_read_here(step.operands[0], TileOp::kMulFloat)) {
      std::swap(step.operands[0], step.operands[1]);
    }
    if (!varies_with_kv(step.operands[0])) continue;
    if (!only_read_here(step.operands[1], TileOp::kMulFloat)) continue;
    const TileStep& product = source(step.operands[1]);
    step.op = add ? TileOp::kAddProduct : TileOp::kSubProduct;
    step.num_operands = 3;
    step.operands[1] = product.operands[0];
    step.operands[2] = product.operands[1];
  }
}

}  // namespace attnrt::expr
