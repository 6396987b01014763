// SPDX-License-Identifier: Apache-2.0
// From programs to what tile machines run.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/expr/program.hpp"
#include "src/expr/tile_code.hpp"

namespace attnrt::expr {

/// Steps and their view. Immutable; any number of threads may run it.
class TileProgram {
 public:
  TileProgram() = default;
  TileProgram(std::vector<TileStep> steps, const TileCode& code);

  /// Valid while this object neither changes nor moves.
  [[nodiscard]] TileCode code() const {
    TileCode code = code_;
    code.steps = steps_.data();
    return code;
  }

 private:
  std::vector<TileStep> steps_;
  TileCode code_;
};

/// Conjuncts are numbered as by TileClassifier::undecided_conjuncts().
TileProgram lower_mask(const ProgramData& program);
TileProgram lower_score(const ProgramData& program);

/// The positions, heads and lengths that a program will see, each from 0 (q: q_begin) to below its
/// limit.
struct TileExtent {
  int64_t q_begin = 0;
  int64_t q_end = 1;
  int64_t kv_end = 1;
  int64_t sequences = 1;
  int64_t heads = 1;
  int64_t kv_heads = 1;
  int64_t max_q_len = 0;   // inclusive
  int64_t max_kv_len = 0;  // inclusive
};

/// Whether an integer of the program could leave int32. O(steps), no allocation.
bool needs_int64(const TileCode& code, std::span<const BoundSlot> slots, const TileExtent& extent);

}  // namespace attnrt::expr
