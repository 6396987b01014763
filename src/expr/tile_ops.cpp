// SPDX-License-Identifier: Apache-2.0
#include "src/expr/tile_ops.hpp"

namespace attnrt::expr {

TileOp tile_op(Op op, Type type) {
  const auto from = [&](Op first, TileOp to) {
    return static_cast<TileOp>(static_cast<int>(to) + static_cast<int>(op) -
                               static_cast<int>(first));
  };
  const bool of_float = type == Type::kFloat;
  switch (op) {
    case Op::kAdd:
      return of_float ? TileOp::kAddFloat : TileOp::kAdd;
    case Op::kSub:
      return of_float ? TileOp::kSubFloat : TileOp::kSub;
    case Op::kMul:
      return of_float ? TileOp::kMulFloat : TileOp::kMul;
    case Op::kNeg:
      return of_float ? TileOp::kNegFloat : TileOp::kNeg;
    case Op::kAbs:
      return of_float ? TileOp::kAbsFloat : TileOp::kAbs;
    case Op::kMin:
      return of_float ? TileOp::kMinFloat : TileOp::kMin;
    case Op::kMax:
      return of_float ? TileOp::kMaxFloat : TileOp::kMax;
    case Op::kDiv:
      return TileOp::kDivFloat;
    case Op::kToFloat:
      return TileOp::kToFloat;
    case Op::kLess:
      return of_float ? TileOp::kLessFloat : TileOp::kLess;
    case Op::kLessEqual:
      return of_float ? TileOp::kLessEqualFloat : TileOp::kLessEqual;
    case Op::kEqual:
      return of_float ? TileOp::kEqualFloat : TileOp::kEqual;
    case Op::kAnd:
      return TileOp::kAnd;
    case Op::kXor:
      return TileOp::kXor;
    case Op::kSelect:
      return of_float             ? TileOp::kSelectFloat
             : type == Type::kInt ? TileOp::kSelect
                                  : TileOp::kSelectPredicate;
    default:
      if (op == Op::kFma) return TileOp::kFma;
      return op < Op::kLess ? from(Op::kFloorDiv, TileOp::kFloorDiv) : from(Op::kExp, TileOp::kExp);
  }
}

bool commutes(TileOp op) {
  switch (op) {
    case TileOp::kAdd:
    case TileOp::kMul:
    case TileOp::kMin:
    case TileOp::kMax:
    case TileOp::kBitAnd:
    case TileOp::kBitOr:
    case TileOp::kBitXor:
    case TileOp::kEqual:
    case TileOp::kEqualFloat:
    case TileOp::kAddFloat:
    case TileOp::kMulFloat:
      return true;
    default:
      return false;
  }
}

}  // namespace attnrt::expr
