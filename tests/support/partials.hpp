// SPDX-License-Identifier: Apache-2.0
// Memory for the unmerged states of a plan.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "attnrt/attnrt.hpp"
#include "tests/support/problem.hpp"

namespace attnrt::test {

/// Starts as NaN: a state that a call leaves out spoils whatever is merged from it.
struct Partials {
  std::vector<float> acc, ref, sum;
  PartialView view;

  Partials(const Problem& problem, int32_t num_splits) {
    const AttentionSpec& spec = problem.spec();
    const int32_t dim_v = spec.head_dim_v != 0 ? spec.head_dim_v : spec.head_dim;
    const auto states = static_cast<size_t>(int64_t{num_splits} * problem.total_q()) *
                        static_cast<size_t>(spec.num_heads_q);
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    acc.assign(states * static_cast<size_t>(dim_v), kNan);
    ref.assign(states, kNan);
    sum.assign(states, kNan);
    view = {acc.data(), ref.data(), sum.data(), num_splits};
  }
};

}  // namespace attnrt::test
