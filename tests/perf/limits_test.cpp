// SPDX-License-Identifier: Apache-2.0
// Work and limits against numbers counted by hand and against the plan's own count.
#include "perf/limits.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "attnrt/attention.hpp"

namespace attnrt::perf {
namespace {

WorkShape shape_of(int64_t q_len, int64_t kv_len, bool causal, int64_t window) {
  WorkShape shape;
  shape.q_len = q_len;
  shape.kv_len = kv_len;
  shape.causal = causal;
  shape.window_left = window;
  return shape;
}

TEST_CASE("decode reads every key once and multiplies it for every query head") {
  WorkShape shape = shape_of(1, 4096, true, -1);
  shape.batch = 2;
  shape.heads_q = 32;
  shape.heads_kv = 8;
  shape.head_dim = 128;
  shape.head_dim_v = 64;
  const Work work = work_of(shape);
  CHECK(work.kv_bytes == int64_t{2} * 4096 * 8 * (128 + 64) * 2);
  CHECK(work.flops == int64_t{2} * 4096 * 32 * (128 + 64) * 2);
}

TEST_CASE("only visible scores count, and only keys that some row sees are read") {
  // Scores of one head with D = Dv = 1: 4 flops each; keys of one head in bf16: 4 bytes each.
  CHECK(work_of(shape_of(3, 3, true, -1)).flops == 4 * (1 + 2 + 3));
  CHECK(work_of(shape_of(3, 3, false, -1)).flops == 4 * 9);
  CHECK(work_of(shape_of(2, 10, true, 3)).flops == 4 * (4 + 4));
  CHECK(work_of(shape_of(2, 10, true, 3)).kv_bytes == 4 * 5);
  CHECK(work_of(shape_of(1, 10, true, 0)).kv_bytes == 4);
  // Positions -1, 0, 1 of two keys: the first row sees none.
  CHECK(work_of(shape_of(3, 2, true, -1)).flops == 4 * (0 + 1 + 2));
  CHECK(work_of(shape_of(3, 2, true, -1)).kv_bytes == 4 * 2);
}

TEST_CASE("the plan counts as many scores") {
  for (const int32_t q_len : {1, 2, 7, 64, 300}) {
    for (const int32_t window : {-1, 0, 5, 400}) {
      for (const bool causal : {false, true}) {
        const std::vector<int32_t> cu_seqlens_q{0, q_len};
        const std::vector<int32_t> cu_seqlens_k{0, 300};
        SequenceBatch batch;
        batch.cu_seqlens_q = cu_seqlens_q;
        batch.cu_seqlens_k = cu_seqlens_k;
        AttentionSpec spec;
        spec.num_heads_q = 6;
        spec.num_heads_kv = 2;
        spec.head_dim = 16;
        spec.causal = causal;
        spec.window_left = window;
        Plan plan;
        REQUIRE(make_plan(spec, batch, plan).ok());
        WorkShape shape = shape_of(q_len, 300, causal, window);
        shape.heads_q = 6;
        shape.heads_kv = 2;
        shape.head_dim = 16;
        shape.head_dim_v = 16;
        CAPTURE(q_len);
        CAPTURE(window);
        CAPTURE(causal);
        CHECK(work_of(shape).flops == plan.num_scores() * 2 * (16 + 16));
      }
    }
  }
}

TEST_CASE("the limit is the larger of the two times") {
  const Work work{.kv_bytes = 1000, .flops = 4000};
  const Limit read = limit_of(work, {.read_bytes_per_second = 100.0, .flops_per_second = 1000.0});
  CHECK(read.seconds == doctest::Approx(10.0));
  CHECK(read.bound == Bound::kMemory);
  const Limit fma = limit_of(work, {.read_bytes_per_second = 100.0, .flops_per_second = 200.0});
  CHECK(fma.seconds == doctest::Approx(20.0));
  CHECK(fma.bound == Bound::kCompute);
}

TEST_CASE("percent of the limit") {
  const Limit limit{.seconds = 8.0, .bound = Bound::kMemory};
  CHECK(limit_percent(limit, 8.0) == doctest::Approx(100.0));
  CHECK(limit_percent(limit, 10.0) == doctest::Approx(80.0));
  CHECK(limit_percent(limit, 0.0) == 0.0);
}

}  // namespace
}  // namespace attnrt::perf
