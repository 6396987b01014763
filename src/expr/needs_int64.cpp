// SPDX-License-Identifier: Apache-2.0
// Whether 32 bits hold every integer of a tile program, by the intervals of what is bound.
#include <array>
#include <limits>

#include "src/expr/abstract_value.hpp"
#include "src/expr/lower_tile.hpp"

namespace attnrt::expr {
namespace {

// Programs with more registers of integers than this count as wide, which is always right.
constexpr size_t kMaxRegisters = 1024;

constexpr int64_t kLow = std::numeric_limits<int32_t>::min();
constexpr int64_t kHigh = std::numeric_limits<int32_t>::max();

struct Interval {
  int64_t low = kLow;
  int64_t high = kHigh;
};

constexpr Op graph_op(TileOp op) {
  return static_cast<Op>(static_cast<int>(op) - static_cast<int>(TileOp::kAdd) +
                         static_cast<int>(Op::kAdd));
}
static_assert(graph_op(TileOp::kShiftRight) == Op::kShiftRight);
static_assert(graph_op(TileOp::kFloorDiv) == Op::kFloorDiv);

Interval leaf(const TileStep& step, std::span<const BoundSlot> slots, const TileExtent& extent) {
  switch (step.op) {
    case TileOp::kQ:
      return {extent.q_begin, extent.q_end - 1};
    case TileOp::kKv:
      // Blocks are evaluated as a whole, so a little beyond the last key.
      return {0, extent.kv_end + 127};
    case TileOp::kB:
      return {0, extent.sequences - 1};
    case TileOp::kH:
      return {0, extent.heads - 1};
    case TileOp::kHkv:
      return {0, extent.kv_heads - 1};
    case TileOp::kQLen:
      return {0, extent.max_q_len};
    case TileOp::kKvLen:
      return {0, extent.max_kv_len};
    case TileOp::kLiteralInt:
      return {step.int_literal, step.int_literal};
    case TileOp::kParamInt: {
      const int64_t value = slots[static_cast<size_t>(step.slot)].int_value;
      return {value, value};
    }
    default:
      return {};  // loads: what tables can hold; floats and predicates: nobody asks
  }
}

AbstractValue range_with_bits(const Interval& interval) {
  AbstractValue value = int_range(interval.low, interval.high);
  bits_from_range(value);
  return value;
}

}  // namespace

bool needs_int64(const TileCode& code, std::span<const BoundSlot> slots, const TileExtent& extent) {
  std::array<size_t, kTileRanks> first{};
  size_t count = 0;
  for (size_t rank = 0; rank < kTileRanks; ++rank) {
    first[rank] = count;
    count += static_cast<size_t>(code.registers[rank]);
  }
  if (count > kMaxRegisters) return true;
  std::array<Interval, kMaxRegisters> values;
  const auto at = [&](TileRank rank, int32_t reg) -> Interval& {
    return values[first[static_cast<size_t>(rank)] + static_cast<size_t>(reg)];
  };
  for (int32_t i = 0; i < code.stage_end[kTileRanks - 1]; ++i) {
    const TileStep& step = code.steps[i];
    const auto input = [&](size_t n) -> const Interval& {
      return at(step.operands[n].rank, step.operands[n].reg);
    };
    if (step.out < 0) continue;
    Interval out = leaf(step, slots, extent);
    // Of a difference that becomes a float it is the difference that has to fit.
    const bool difference =
        step.op == TileOp::kDifferenceToFloat || step.op == TileOp::kScaledDifference;
    const TileOp op = difference ? TileOp::kSub : step.op;
    if (op >= TileOp::kAdd && op <= TileOp::kShiftRight) {
      const AbstractValue x = range_with_bits(input(0));
      const AbstractValue y = step.num_operands > 1 ? range_with_bits(input(1)) : x;
      AbstractValue result;
      abstract_int(graph_op(op), x, y, /*bits=*/false, result);
      out = {result.low, result.high};
    } else if (step.op == TileOp::kSelect) {
      out = {std::min(input(1).low, input(2).low), std::max(input(1).high, input(2).high)};
    }
    if (out.low < kLow || out.high > kHigh) return true;
    at(step.rank, step.out) = out;
  }
  return false;
}

}  // namespace attnrt::expr
