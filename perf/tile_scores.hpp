// SPDX-License-Identifier: Apache-2.0
// The work that a mask leaves, as FlexAttention and FlashMask count it: all scores of those tiles
// of 64 queries x 64 keys in which some row sees a key.
#pragma once

#include <cstdint>

#include "perf/case_input.hpp"

namespace attnrt::perf {

inline constexpr int32_t kWorkTile = 64;

/// Of all sequences and query heads. Exact: a tile that no proof decides is looked into, element by
/// element, until one is visible. Takes about 0.1 us for each tile at the mask's boundary and
/// 0.5 ms for each that is empty without a proof.
int64_t tile_scores(const CaseInput& input);

}  // namespace attnrt::perf
