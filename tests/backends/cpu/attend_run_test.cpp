// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <vector>

#include "attnrt/attnrt.hpp"

namespace attnrt {
namespace {

// One decode step over packed f32 keys that are all zero: what is measured is where time is said
// to go, not what is computed.
AttendStats stats_of(int32_t kv_len, int32_t num_threads) {
  constexpr int32_t kHeads = 2;
  constexpr int32_t kDim = 16;
  const AttentionSpec spec{.num_heads_q = kHeads, .num_heads_kv = kHeads, .head_dim = kDim};
  const std::vector<int32_t> cu_q{0, 1};
  const std::vector<int32_t> cu_k{0, kv_len};
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_q;
  batch.cu_seqlens_k = cu_k;
  Plan plan;
  REQUIRE(make_plan(spec, batch, plan).ok());

  std::vector<float> kv(static_cast<size_t>(kv_len) * kHeads * kDim);
  std::vector<float> q(kHeads * kDim);
  std::vector<float> out(kHeads * kDim);
  AttendStats stats;
  AttendArgs args;
  args.q = dense_tensor(q.data(), DType::kF32, 1, kHeads, kDim);
  args.kv = KvView::packed(kv.data(), kv.data(), DType::kF32, kv_len, kHeads, kDim);
  args.out = dense_tensor(out.data(), DType::kF32, 1, kHeads, kDim);
  args.stats = &stats;
  Context context;
  ContextOptions options;
  options.num_threads = num_threads;
  REQUIRE(Context::create(options, context).ok());
  REQUIRE(attend(context, plan, args).ok());
  const int64_t units = stats.units;
  REQUIRE(attend(context, plan, args).ok());
  CHECK(stats.units == 2 * units);  // calls add up
  return stats;
}

TEST_CASE("stats tell units, time over keys, and time in merges only where there are merges") {
  for (const int32_t threads : {1, 3}) {
    CAPTURE(threads);
    const AttendStats one_split = stats_of(kSplitKeys, threads);
    CHECK(one_split.units > 0);
    CHECK(one_split.attend_ns > 0);
    CHECK(one_split.merge_ns == 0);
    const AttendStats many_splits = stats_of(64 * kSplitKeys, threads);
    if (threads == 1) {  // runs its tiles as one
      CHECK(many_splits.merge_ns == 0);
      continue;
    }
    CHECK(many_splits.units > one_split.units);
    CHECK(many_splits.merge_ns > 0);
    CHECK(many_splits.attend_ns > many_splits.merge_ns);
  }
}

}  // namespace
}  // namespace attnrt
