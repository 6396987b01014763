// SPDX-License-Identifier: Apache-2.0
// Operations of the graph as operations of tile machines.
#pragma once

#include "src/expr/graph.hpp"
#include "src/expr/tile_code.hpp"

namespace attnrt::expr {

/// An operation of the graph, on operands of the type.
TileOp tile_op(Op op, Type type);

/// Whether a step hands its operand to the mask or the score, and writes no register.
constexpr bool is_end(TileOp op) { return op == TileOp::kConjunct || op == TileOp::kResult; }

/// Whether operands may change places, to the last bit.
bool commutes(TileOp op);

}  // namespace attnrt::expr
