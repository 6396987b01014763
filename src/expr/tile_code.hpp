// SPDX-License-Identifier: Apache-2.0
// A mask or a score as tile machines run it: steps in four stages, by what their values change
// with, on numbered registers. Plain data only: this header is compiled under every -m flag.
#pragma once

#include <cstdint>

#include "src/expr/bound_slot.hpp"

namespace attnrt::expr {

/// How often a step runs, and how many values its register holds: once for a task; for each row of
/// it; for each of the 128 keys of a block; for each row and key. A row is a query token, and its
/// head where the program uses heads.
enum class TileRank : uint8_t { kUniform, kRow, kColumn, kElement };
inline constexpr int32_t kTileRanks = 4;

enum class TileOp : uint8_t {
  kQ,
  kKv,
  kB,
  kH,
  kHkv,
  kQLen,
  kKvLen,
  kLiteralInt,
  kLiteralFloat,
  kLiteralPredicate,
  kParamInt,
  kParamFloat,
  kLoad,     // slot[operands], of the slot's type: int, float or predicate
  kLoadRun,  // the same, where operands[run_dimension] (absent: 0) plus or minus kv is the index
  kDot,      // of the slots `slot` and `kv_slot`
  kAdd,      // int, up to kShiftRight
  kSub,
  kMul,
  kNeg,
  kAbs,
  kMin,
  kMax,
  kFloorDiv,
  kFloorMod,
  kBitAnd,
  kBitOr,
  kBitXor,
  kShiftLeft,
  kShiftRight,
  kLess,  // of ints
  kLessEqual,
  kEqual,
  kLessFloat,  // of floats
  kLessEqualFloat,
  kEqualFloat,
  kAnd,  // predicates
  kXor,
  kSelect,  // (predicate, x, y) of ints, floats, predicates
  kSelectFloat,
  kSelectPredicate,
  kToFloat,   // of an int
  kAddFloat,  // float, as all up to kPow but the two of differences
  kSubFloat,
  kMulFloat,
  kDivFloat,
  kNegFloat,
  kAbsFloat,
  kMinFloat,
  kMaxFloat,
  kFma,
  kDifferenceToFloat,  // of ints: x - y
  kScaledDifference,   // of ints and a float that all keys share: x - y, times z
  kAddProduct,         // x + y * z, rounded twice, as the two operations are
  kSubProduct,         // x - y * z
  kAddRun,             // the last operand + what kLoadRun with those before it reads, a float
  kExp,
  kExp2,
  kLog,
  kLog1p,
  kTanh,
  kSigmoid,
  kErf,
  kSqrt,
  kRsqrt,
  kSin,
  kCos,
  kPow,
  kConjunct,  // the mask becomes false where operand 0 is
  kResult,    // the score becomes operand 0
};

inline constexpr int32_t kMaxOperandsOfStep = 4;

struct TileOperand {
  int32_t reg = -1;  // of the registers of its rank; -1: absent
  TileRank rank = TileRank::kUniform;
  bool negated = false;  // of predicates
};

struct TileStep {
  TileOp op = TileOp::kLiteralInt;
  TileRank rank = TileRank::kUniform;  // the stage, and the rank of `out`
  int8_t num_operands = 0;
  int8_t run_dimension = -1;  // kLoadRun, kAddRun
  bool descending = false;    // of these: minus kv
  int32_t out = -1;
  TileOperand operands[kMaxOperandsOfStep];
  int32_t slot = -1;
  int32_t kv_slot = -1;
  int64_t int_literal = 0;
  float float_literal = 0.0f;
  uint64_t conjuncts = ~uint64_t{0};  // bit i: conjunct i of a mask needs the step
};

/// Steps stand by rank: those of rank r end at stage_end[r]. Register 0 of rank kElement is the
/// score, which the program reads and replaces; masks have no use for it.
struct TileCode {
  const TileStep* steps = nullptr;
  int32_t stage_end[kTileRanks] = {};
  int32_t registers[kTileRanks] = {};  // of each rank
  bool uses_head = false;
};

/// Keys that rows of a task see some of. undecided 0: every row sees all keys inside its window;
/// else the mask is the conjunction of these conjuncts (bit i).
struct MaskRun {
  int32_t key_begin;
  int32_t key_end;
  uint64_t undecided;
};

/// A program with the values of its slots.
struct ExprCall {
  const TileCode* code;    // null: none
  const BoundSlot* slots;  // in the order of ProgramData::slots
  bool wide;               // integers need 64 bits: needs_int64()
};

}  // namespace attnrt::expr
