// SPDX-License-Identifier: Apache-2.0
// The combinations of a sweep, and which of them are left out by name.
#include "perf/sweep_grid.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace attnrt::perf {
namespace {

TEST_CASE("every combination stands once, the last axis changing fastest") {
  SweepLists lists;
  lists.batches = {1, 2};
  lists.kv_lens = {512, 1024, 2048};
  lists.threads = {1, 2};
  std::vector<std::string> skipped;
  const std::vector<SweepCase> cases = expand(lists, 0.0f, skipped);
  REQUIRE(cases.size() == 12);
  CHECK(skipped.empty());
  for (size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i);
    CHECK(cases[i].batch == lists.batches[i / 6]);
    CHECK(cases[i].kv_len == lists.kv_lens[i / 2 % 3]);
    CHECK(cases[i].threads == lists.threads[i % 2]);
    CHECK(cases[i].head_dim == 128);
    CHECK(cases[i].head_dim_v == 128);
    CHECK(cases[i].page_size == 16);
  }
}

TEST_CASE("all axes reach the case") {
  SweepLists lists;
  lists.dtypes = {DType::kF16};
  lists.heads = {{8, 1}};
  lists.head_dims = {576};
  lists.head_dims_v = {512};
  lists.layouts = {KvLayout::kHND};
  lists.page_sizes = {64};
  lists.causal = {true};
  lists.windows = {100};
  lists.q_lens = {3};
  lists.isas = {"avx2"};
  std::vector<std::string> skipped;
  const std::vector<SweepCase> cases = expand(lists, 30.0f, skipped);
  REQUIRE(cases.size() == 1);
  CHECK(describe(cases[0]) ==
        "f16 8/1 D576/512 hnd 64 causal window 100 batch 1 q 3 kv 4096 threads 1 avx2");
  CHECK(cases[0].softcap == 30.0f);
  // Three queries that see 100 keys each, together the last 102.
  CHECK(work_of(cases[0]).kv_bytes == int64_t{102} * (576 + 512) * 2);
  CHECK(work_of(cases[0]).flops == int64_t{3} * 100 * 8 * (576 + 512) * 2);
}

TEST_CASE("masks and scores are axes, made for 64 keys or more") {
  SweepLists lists;
  lists.masks = {"causal", "tracks"};
  lists.scores = {"", "alibi"};
  lists.kv_lens = {63, 64};
  std::vector<std::string> skipped;
  const std::vector<SweepCase> cases = expand(lists, 0.0f, skipped);
  REQUIRE(cases.size() == 4);
  CHECK(skipped.size() == 4);
  CHECK(cases[3].mask == "tracks");
  CHECK(cases[3].score == "alibi");
  CHECK(describe(cases[3]).find(" mask tracks score alibi ") != std::string::npos);
  SweepCase c = cases[3];
  c.causal = true;
  c.window = 7;
  c.softcap = 3.0f;
  CHECK(describe(dense_case(c)) == "bf16 32/8 D128 nhd 16 batch 1 q 1 kv 64 threads 1");
  CHECK(dense_case(c).softcap == 0.0f);
}

TEST_CASE("a window of no keys is no window, one of one key is the query's own") {
  SweepLists lists;
  lists.windows = {0, 1};
  lists.causal = {true};
  std::vector<std::string> skipped;
  const std::vector<SweepCase> cases = expand(lists, 0.0f, skipped);
  REQUIRE(cases.size() == 2);
  CHECK(work_of(cases[0]).flops == int64_t{4096} * work_of(cases[1]).flops);
}

TEST_CASE("ragged lengths are multiples, spread over their range, the same in every run") {
  SweepCase c;
  c.heads = {2, 1};
  c.head_dim = 16;
  c.head_dim_v = 16;
  c.batch = 500;
  c.q_len = 2048;
  c.kv_len = 2048;
  c.ragged = 64;
  const std::vector<SequenceLengths> prefill = sequence_lengths(c);
  REQUIRE(prefill.size() == 500);
  int64_t keys = 0;
  int64_t scores = 0;
  int32_t longest = 0;
  for (const SequenceLengths& sequence : prefill) {
    CHECK(sequence.q == sequence.kv);
    CHECK(sequence.kv % 64 == 0);
    CHECK(sequence.kv >= 64);
    longest = std::max(longest, sequence.kv);
    keys += sequence.kv;
    scores += int64_t{sequence.kv} * sequence.kv;
  }
  CHECK(longest == 2048);
  CHECK(keys / 500 == doctest::Approx(1056).epsilon(0.1));
  CHECK(work_of(c).kv_bytes == keys * (16 + 16) * 2);
  CHECK(work_of(c).flops == scores * 2 * (16 + 16) * 2);
  CHECK(sequence_lengths(c)[7].kv == prefill[7].kv);

  c.q_len = 100;
  for (const SequenceLengths& sequence : sequence_lengths(c)) {
    CHECK(sequence.q == 100);
    CHECK(sequence.kv >= 100);
  }
}

TEST_CASE("packed K and V have one row for all page sizes") {
  SweepLists lists;
  lists.layouts = {KvLayout::kPacked, KvLayout::kNHD};
  lists.page_sizes = {16, 64, 256};
  std::vector<std::string> skipped;
  const std::vector<SweepCase> cases = expand(lists, 0.0f, skipped);
  REQUIRE(cases.size() == 4);
  CHECK(cases[0].page_size == 0);
  CHECK(cases[3].page_size == 256);
}

TEST_CASE("packed16 has pages of whole groups only") {
  SweepLists lists;
  lists.layouts = {KvLayout::kPacked16};
  lists.page_sizes = {16, 40, 48};
  std::vector<std::string> skipped;
  const std::vector<SweepCase> cases = expand(lists, 0.0f, skipped);
  REQUIRE(cases.size() == 2);
  CHECK(cases[1].page_size == 48);
  REQUIRE(skipped.size() == 1);
  CHECK(skipped[0].find("packed16 pages hold a multiple of 16 keys") != std::string::npos);
}

TEST_CASE("as many queries as keys") {
  SweepLists lists;
  lists.q_lens = {kQueryPerKey, 1};
  lists.kv_lens = {512, 2048};
  std::vector<std::string> skipped;
  const std::vector<SweepCase> cases = expand(lists, 0.0f, skipped);
  REQUIRE(cases.size() == 4);
  CHECK(cases[0].q_len == 512);
  CHECK(cases[1].q_len == 2048);
  CHECK(cases[2].q_len == 1);
}

TEST_CASE("impossible combinations are left out by name, the others stay") {
  SweepLists lists;
  lists.causal = {true};
  lists.q_lens = {64, 2048};
  lists.kv_lens = {1024};
  std::vector<std::string> skipped;
  CHECK(expand(lists, 0.0f, skipped).size() == 1);
  REQUIRE(skipped.size() == 1);
  CHECK(
      skipped[0] ==
      "bf16 32/8 D128 nhd 16 causal batch 1 q 2048 kv 1024 threads 1: more queries than keys: the "
      "keys include those of the queries when causal");

  lists.causal = {false};  // attention to another sequence may have any lengths
  skipped.clear();
  CHECK(expand(lists, 0.0f, skipped).size() == 2);

  lists.ragged = {2000};
  skipped.clear();
  CHECK(expand(lists, 0.0f, skipped).empty());
  lists.ragged = {0};
  lists.batches = {1 << 20};
  lists.kv_lens = {4096};
  skipped.clear();
  CHECK(expand(lists, 0.0f, skipped).empty());
  CHECK(skipped.size() == 2);
}

}  // namespace
}  // namespace attnrt::perf
