// SPDX-License-Identifier: Apache-2.0
// Score programs that add something to the score and read it nowhere else, as all biases do. Their
// last step, the scale before it and the mask after it are one pass over the scores instead of
// three: a table at D 128 costs 2 % of attention instead of 12 %.
#pragma once

#include "backends/cpu/kernels/generic/expr_inl.hpp"
#include "backends/cpu/kernels/generic/softmax_inl.hpp"

namespace attnrt::cpu {
namespace {

struct ScoreSum {
  const TileStep* last = nullptr;  // null: the program is something else
  TileCode rest;                   // the program without it
  bool more = false;               // which has steps for elements
};

inline bool is_score(const TileOperand& operand) {
  return operand.rank == TileRank::kElement && operand.reg == 0;
}

// The sum that a program is.
inline ScoreSum score_sum(const expr::ExprCall& call) {
  constexpr int kElement = static_cast<int>(TileRank::kElement);
  ScoreSum sum;
  if (call.code == nullptr || call.wide) return sum;
  const TileCode& code = *call.code;
  const int32_t first = code.stage_end[kElement - 1];
  const int32_t last = code.stage_end[kElement] - 1;
  if (last < first) return sum;
  for (int32_t i = first; i < last; ++i) {
    for (const TileOperand& operand : code.steps[i].operands) {
      if (is_score(operand)) return sum;
    }
  }
  const TileStep& step = code.steps[last];
  const TileOperand* added = step.operands + 1;
  switch (step.op) {
    case TileOp::kAddRun:
      if (!is_score(step.operands[step.num_operands - 1])) return sum;
      break;
    case TileOp::kAddFloat:
    case TileOp::kSubFloat:
    case TileOp::kAddProduct:
    case TileOp::kSubProduct:
      if (!is_score(step.operands[0]) || is_score(added[0]) || is_score(added[1])) return sum;
      if (added[0].rank != TileRank::kElement && added[0].rank != TileRank::kColumn) return sum;
      break;
    default:
      return sum;
  }
  sum.last = &step;
  sum.rest = code;
  sum.rest.stage_end[kElement] = last;
  sum.more = first < last;
  return sum;
}

// Elements of an operand that are added, per row.
template <class Isa>
inline void add_products(const ExprState& state, const TileStep& step, const ExprPlace& place,
                         float scale, const RowBlock* blocks, float* maxima) {
  using Vec = typename Isa::Vec;
  const bool subtract = step.op == TileOp::kSubFloat || step.op == TileOp::kSubProduct;
  const bool product = step.op == TileOp::kAddProduct || step.op == TileOp::kSubProduct;
  const Vec sign(subtract ? -1.0f : 1.0f);
  const Vec factor(scale);
  const ExprInput<float> x = input_of<float>(state.regs, place, step.operands[1]);
  ExprInput<float> y{nullptr, 0, true};
  if (product) y = input_of<float>(state.regs, place, step.operands[2]);
  for (int32_t r = 0; r < place.rows; ++r) {
    const float* a = x.at + r * x.row;
    const float* b = y.at + r * y.row;
    float* scores = place.scores + r * kBlockKeys;
    // Products with 1 and -1 are exact: s + -x * y is s - x * y.
    if (y.broadcast) {
      const Vec one = product ? sign * Vec(b[0]) : sign;
      maxima[r] = change_row<Isa>(blocks[r], place.begin, place.end, scores, [=](Vec s, int32_t i) {
        return s * factor + Vec::load_aligned(a + i) * one;
      });
    } else {
      maxima[r] = change_row<Isa>(blocks[r], place.begin, place.end, scores, [=](Vec s, int32_t i) {
        return s * factor + Vec::load_aligned(a + i) * sign * Vec::load_aligned(b + i);
      });
    }
  }
}

template <class Isa>
inline void add_tables(const ExprState& state, const TileStep& step, const ExprPlace& place,
                       float scale, const RowBlock* blocks, float* maxima) {
  using Vec = typename Isa::Vec;
  const Vec factor(scale);
  const BoundSlot& slot = state.call.slots[step.slot];
  RunIndex<int32_t> index(state.regs, place, step, slot, state.key);
  for (int32_t r = 0; r < place.rows; ++r) {
    float* scores = place.scores + r * kBlockKeys;
    const auto add = [&](const auto& table) {
      maxima[r] = change_row<Isa>(blocks[r], place.begin, place.end, scores, [=](Vec s, int32_t i) {
        table.prefetch(i);
        return s * factor + table.at(i);
      });
    };
    index.begin_row(r);
    const int64_t from = index.neighbours(place.begin, place.end);
    if (from >= 0) {
      with_neighbours<Isa>(slot, from, step.descending, place.begin, add);
    } else {
      alignas(64) float row[kBlockKeys];
      for (int32_t i = place.begin; i < place.end; ++i) row[i] = element_of(slot, index.clamped(i));
      add(NeighbourLanes<Isa, F32, false>{row, 0});
    }
  }
}

// Products of a strip of rows to scores as score_row does, with the sum between scale and mask.
// state: of the rest of the program.
template <class Isa>
[[gnu::noinline]] void add_to_scores(const ExprState& state, const ScoreSum& sum,
                                     const ExprPlace& place, float scale, const RowBlock* blocks,
                                     float* maxima) {
  if (sum.more) run_stage<Isa>(state, place, nullptr);
  if (sum.last->op == TileOp::kAddRun) {
    add_tables<Isa>(state, *sum.last, place, scale, blocks, maxima);
  } else {
    add_products<Isa>(state, *sum.last, place, scale, blocks, maxima);
  }
}

}  // namespace
}  // namespace attnrt::cpu
