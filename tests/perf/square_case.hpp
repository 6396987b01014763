// SPDX-License-Identifier: Apache-2.0
// One sequence whose tokens attend to themselves under a mask.
#pragma once

#include <cstdint>
#include <string>

#include "perf/sweep_grid.hpp"

namespace attnrt::perf {

inline SweepCase square(const std::string& mask, int32_t tokens) {
  SweepCase c;
  c.heads = {4, 2};
  c.head_dim = c.head_dim_v = 16;
  c.layout = KvLayout::kPacked;
  c.batch = 1;
  c.q_len = c.kv_len = tokens;
  c.threads = 1;
  c.mask = mask;
  return c;
}

}  // namespace attnrt::perf
