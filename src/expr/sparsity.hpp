// SPDX-License-Identifier: Apache-2.0
// What run lists say about a mask: numbers, a picture, a check of every proof, and row intervals.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "attnrt/mask_formats.hpp"
#include "src/expr/evaluate.hpp"
#include "src/expr/plan_runs.hpp"

namespace attnrt::expr {

/// Blocks of a run list: tile_tokens x block_keys elements each, ragged ones included.
struct Sparsity {
  int64_t empty_blocks = 0;
  int64_t partial_blocks = 0;
  int64_t full_blocks = 0;

  [[nodiscard]] int64_t blocks() const { return empty_blocks + partial_blocks + full_blocks; }

  /// The share of blocks that no time is spent on, 0 to 1.
  [[nodiscard]] double sparsity() const {
    return blocks() == 0 ? 0.0 : static_cast<double>(empty_blocks) / static_cast<double>(blocks());
  }
};

Sparsity sparsity_of(const RunList& runs, const RunRequest& request);

/// A line for each tile, a character for each block: '#' full, '+' partial, '.' empty. Longer
/// sides are shrunk to `width` columns and `height` lines; a character then stands for several
/// blocks, and is '+' unless all are of one kind.
std::string picture_of(const RunList& runs, const RunRequest& request, int32_t width = 96,
                       int32_t height = 48);

/// An element that is not what its run says.
struct WrongElement {
  int64_t tile = 0;
  int32_t h = 0;
  int64_t q = 0;
  int64_t key = 0;
  bool visible = false;  // by the definition; the run list has it the other way round
};

/// Evaluates every element outside partial runs one by one, by the definition, for all heads of
/// the scope. The first wrong one, if there is one.
std::optional<WrongElement> verify_runs(Evaluator& mask, const SequenceScope& scope,
                                        const RunRequest& request, const RunList& runs);

/// Adds keys [begin, end) to the last row. Intervals come in order; those that touch are one.
void add_interval(RowIntervals& out, int32_t begin, int32_t end);

/// The mask of head h as row intervals, ascending and apart: full runs as they are, partial ones
/// element by element.
RowIntervals row_intervals(Evaluator& mask, const SequenceScope& scope, int32_t h,
                           const RunRequest& request, const RunList& runs);

}  // namespace attnrt::expr
