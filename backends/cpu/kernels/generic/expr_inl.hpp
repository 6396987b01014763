// SPDX-License-Identifier: Apache-2.0
// Programs of masks and scores over a block of keys: src/expr/tile_code.hpp, stage by stage.
#pragma once

#include "backends/cpu/kernels/generic/expr_machine_inl.hpp"

namespace attnrt::cpu {
namespace {

// Rows `line` on, lanes [begin, end): a score, or words of a mask, is changed in place.
struct ExprRows {
  int32_t line, rows;
  int32_t begin, end;
  float* scores;
  uint64_t* words;
};

template <class Isa>
[[gnu::noinline]] void run_stage(const ExprState& state, const ExprPlace& place, uint64_t* words) {
  if (state.call.wide) {
    ExprMachine<Isa, int64_t>(state, place, words).run();
  } else {
    ExprMachine<Isa, int32_t>(state, place, words).run();
  }
}

// Registers of a program, from its two places in scratch on.
inline ExprRegisters registers_of(const expr::ExprCall& call, int64_t rows, float* own,
                                  float* elements) {
  const TileCode& code = *call.code;
  const int64_t lane = call.wide ? sizeof(int64_t) : sizeof(int32_t);
  ExprRegisters regs;
  const int64_t lanes[] = {kLineFloats, padded(rows), kBlockKeys, int64_t{kStripRows} * kBlockKeys};
  char* at = reinterpret_cast<char*>(own);
  for (int rank = 0; rank < expr::kTileRanks; ++rank) {
    regs.bytes[rank] = lanes[rank] * lane;
    regs.base[rank] = at;
    at += code.registers[rank] * regs.bytes[rank];
  }
  regs.base[rank_index(TileRank::kElement)] = reinterpret_cast<char*>(elements);
  return regs;
}

// What is the same for all keys.
template <class Isa>
inline void begin_lines(const ExprState& state) {
  run_stage<Isa>(state, {TileRank::kUniform, 1, 0, 0, kLineFloats, nullptr}, nullptr);
  const auto lanes = static_cast<int32_t>(padded(state.lines));
  run_stage<Isa>(state, {TileRank::kRow, 1, 0, 0, lanes, nullptr}, nullptr);
}

// What is the same for all rows, of the block at state.key.
template <class Isa>
inline void begin_keys(const ExprState& state) {
  run_stage<Isa>(state, {TileRank::kColumn, 1, 0, 0, kBlockKeys, nullptr}, nullptr);
}

// At most kStripRows rows.
template <class Isa>
inline void run_rows(const ExprState& state, const ExprRows& rows) {
  run_stage<Isa>(state,
                 {TileRank::kElement, rows.rows, rows.line, rows.begin, rows.end, rows.scores},
                 rows.words);
}

}  // namespace
}  // namespace attnrt::cpu
