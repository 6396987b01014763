// SPDX-License-Identifier: Apache-2.0
// What run lists say about a mask: numbers and a picture.
#pragma once

#include <cstdint>
#include <string>

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

}  // namespace attnrt::expr
