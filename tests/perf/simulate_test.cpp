// SPDX-License-Identifier: Apache-2.0
#include "perf/simulate.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "src/plan_cost.hpp"

namespace attnrt::perf {
namespace {

Plan planned(const std::vector<std::pair<int32_t, int32_t>>& q_and_kv) {
  std::vector<int32_t> cu_q{0}, cu_k{0};
  for (const auto& [q_len, kv_len] : q_and_kv) {
    cu_q.push_back(cu_q.back() + q_len);
    cu_k.push_back(cu_k.back() + kv_len);
  }
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_q;
  batch.cu_seqlens_k = cu_k;
  AttentionSpec spec;
  spec.num_heads_q = 32;
  spec.num_heads_kv = 8;
  spec.head_dim = 128;
  spec.causal = true;
  Plan plan;
  REQUIRE(make_plan(spec, batch, plan).ok());
  return plan;
}

TEST_CASE("one thread does everything and is balanced") {
  const SimulatedCall call = simulate_call(planned({{1, 5000}, {1, 100}}), 1);
  CHECK(call.balance() == doctest::Approx(1.0));
  CHECK(call.largest_cost == doctest::Approx(call.cost));
  CHECK(call.cut_percent() == doctest::Approx(0.0));
  CHECK(call.merge_cost == 0.0);  // runs its tiles as one
}

TEST_CASE("every split of a tile that runs in parallel is merged once") {
  const SimulatedCall call = simulate_call(planned({{1, 5000}, {1, 100}}), 16);
  CHECK(call.merge_cost == static_cast<double>(8 * merge_cost(4, 10)));
}

TEST_CASE("24 like units on sixteen threads: half of them take two") {
  const SimulatedCall call = simulate_call(planned({{1, 512}, {1, 512}, {1, 512}}), 16);
  CHECK(call.workers == 16);
  CHECK(call.units == 24);
  CHECK(call.pieces == 24);
  CHECK(call.items == 3);
  CHECK(call.balance() == doctest::Approx(2.0 * 16 / 24));
  CHECK(call.cost == static_cast<double>(24 * attend_cost(4, 512)));
  CHECK(call.merge_cost == 0.0);
}

TEST_CASE("a short call has as many workers as work enough") {
  const SimulatedCall call = simulate_call(planned({{1, 512}}), 16);
  CHECK(call.workers == 8);
  CHECK(call.balance() == doctest::Approx(1.0));
}

TEST_CASE("nothing to do is balanced") {
  const SimulatedCall call = simulate_call(planned({}), 8);
  CHECK(call.units == 0);
  CHECK(call.balance() == 1.0);
  CHECK(call.merge_percent() == 0.0);
}

// 32 threads merge a row of 512 splits each while the others have nothing left.
TEST_CASE("one long decode keeps 128 threads busy until its merge") {
  const SimulatedCall call = simulate_call(planned({{1, 262144}}), 128);
  CHECK(call.pieces == 4096);
  CHECK(call.balance() < 1.06);
  CHECK(call.merge_percent() < 2.0);
}

TEST_CASE("the rest of a prompt over a long history keeps 128 threads busy with its merge") {
  const SimulatedCall call = simulate_call(planned({{97, 56397}, {42, 42}, {373, 373}}), 128);
  CHECK(call.balance() <= 1.05);
  CHECK(call.merge_percent() < 4.0);
  CHECK(call.cut_percent() < 2.0);
}

// 512 tokens x 80 splits would keep 650 MiB.
TEST_CASE("a prompt chunk whose states do not all fit into memory is balanced at 128 threads") {
  const SimulatedCall call = simulate_call(planned({{211, 87172}, {301, 301}}), 128);
  CHECK(call.balance() <= 1.05);
}

TEST_CASE("a prompt chunk beside decodes of very different lengths is balanced at 128 threads") {
  std::vector<std::pair<int32_t, int32_t>> batch{{512, 8192}};
  for (int32_t i = 0; i < 63; ++i) batch.emplace_back(1, 300 + 97 * i);
  const SimulatedCall call = simulate_call(planned(batch), 128);
  CHECK(call.pieces >= 2000);
  CHECK(call.balance() <= 1.05);
}

}  // namespace
}  // namespace attnrt::perf
