// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/attend_workspace.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace attnrt::cpu {
namespace {

constexpr size_t kHeadsQ = 32;
constexpr size_t kDim = 128;

// One packed sequence of 97 query tokens over `kv_len` keys.
Plan planned(int32_t kv_len, int32_t branches = 1) {
  const std::vector<int32_t> cu_q{0, 97};
  const std::vector<int32_t> cu_k{0, kv_len};
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_q;
  batch.cu_seqlens_k = cu_k;
  AttentionSpec spec;
  spec.num_heads_q = kHeadsQ;
  spec.num_heads_kv = 8;
  spec.head_dim = kDim;
  spec.causal = true;
  spec.num_branches = branches;
  Plan plan;
  REQUIRE(make_plan(spec, batch, plan).ok());
  return plan;
}

TEST_CASE("parts stand one behind the other on lines of their own") {
  for (const int32_t branches : {1, 2}) {
    const Plan plan = planned(56397, branches);
    const AttendWorkspace layout = lay_out_attend(*plan.data(), 128);
    const size_t starts[] = {layout.schedule, layout.acc,     layout.ref,
                             layout.sum,      layout.scratch, layout.scratch_each};
    for (const size_t start : starts) CHECK(start % 64 == 0);
    const size_t states = static_cast<size_t>(plan.data()->partial_tokens * branches) * kHeadsQ;
    REQUIRE(states > 0);
    CHECK(layout.schedule >= static_cast<size_t>(plan.data()->merge_groups) * 8 * sizeof(int32_t));
    CHECK(layout.acc >= layout.schedule + schedule_bytes(*plan.data()));
    CHECK(layout.ref >= layout.acc + states * kDim * sizeof(float));
    CHECK(layout.sum >= layout.ref + states * sizeof(float));
    CHECK(layout.scratch >= layout.sum + states * sizeof(float));
    CHECK(layout.total == layout.scratch + 128 * layout.scratch_each);
  }
}

TEST_CASE("there is no room for states that so many workers do not keep") {
  const Plan plan = planned(56397);
  const AttendWorkspace one = lay_out_attend(*plan.data(), 1);
  CHECK(one.scratch - one.acc == 0);
  CHECK(plan.partial_bytes() > int64_t{100} << 20);
  CHECK(one.total < size_t{8} << 20);
}

}  // namespace
}  // namespace attnrt::cpu
