// SPDX-License-Identifier: Apache-2.0
// Fusion, order and registers of the steps of a tile program.
#pragma once

#include <span>
#include <vector>

#include "src/expr/lower_tile.hpp"

namespace attnrt::expr {

/// Instead of a step's number, as an operand: the score.
inline constexpr int32_t kScoreStep = -2;

/// Makes one step of two where the first has one reader and both are elements: what every score
/// with a distance or a bias consists of. Changes no value. Takes what allocate_registers takes.
void fuse_steps(std::vector<TileStep>& steps);

/// Steps whose operands are numbers of earlier steps, and whose ends (kConjunct, kResult) are the
/// last ones. Drops what no end needs, sorts by rank, and finds registers: two values share one
/// where the first is not read again. An end's `conjuncts` become those of all that it needs.
TileProgram allocate_registers(std::vector<TileStep> steps, std::span<const Slot> slots);

}  // namespace attnrt::expr
