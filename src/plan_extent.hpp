// SPDX-License-Identifier: Apache-2.0
// The positions, heads and lengths that programs of a plan see, which decide how wide its integers
// have to be.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "src/expr/lower_tile.hpp"
#include "src/plan_data.hpp"

namespace attnrt {

/// O(batch).
inline expr::TileExtent extent_of(const PlanData& plan) {
  expr::TileExtent extent;
  extent.sequences = std::max<int64_t>(1, std::ssize(plan.sequences));
  extent.heads = plan.spec.num_heads_q;
  extent.kv_heads = plan.spec.num_heads_kv;
  bool first = true;
  for (const PlanSequence& seq : plan.sequences) {
    if (seq.q_len == 0) continue;
    const int64_t end = int64_t{seq.q_start} + seq.q_len;
    extent.q_begin = first ? seq.q_start : std::min<int64_t>(extent.q_begin, seq.q_start);
    extent.q_end = first ? end : std::max(extent.q_end, end);
    first = false;
    extent.kv_end = std::max<int64_t>(extent.kv_end, seq.kv_len);
    extent.max_q_len = std::max<int64_t>(extent.max_q_len, seq.q_len);
    extent.max_kv_len = std::max<int64_t>(extent.max_kv_len, seq.kv_len);
  }
  return extent;
}

}  // namespace attnrt
