// SPDX-License-Identifier: Apache-2.0
// The combinations of a sweep, and which of them are left out by name.
#include "perf/sweep_grid.hpp"

#include <doctest/doctest.h>

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
        "f16 8/1 D576/512 hnd64 causal window 100 batch 1 q 3 kv 4096 threads 1 avx2");
  CHECK(cases[0].softcap == 30.0f);
  const WorkShape shape = work_shape(cases[0]);
  CHECK(shape.heads_q == 8);
  CHECK(shape.heads_kv == 1);
  CHECK(shape.head_dim == 576);
  CHECK(shape.head_dim_v == 512);
  CHECK(shape.causal);
  CHECK(shape.window == 100);
  CHECK(shape.q_len == 3);
  CHECK(shape.kv_len == 4096);
  CHECK(shape.kv_element_bytes == 2);
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
  CHECK(skipped[0] ==
        "bf16 32/8 D128 nhd16 causal batch 1 q 2048 kv 1024 threads 1: more queries than keys: the "
        "keys include those of the queries when causal");

  lists.causal = {false};  // attention to another sequence may have any lengths
  skipped.clear();
  CHECK(expand(lists, 0.0f, skipped).size() == 2);

  lists.batches = {1 << 20};
  lists.kv_lens = {4096};
  skipped.clear();
  CHECK(expand(lists, 0.0f, skipped).empty());
  CHECK(skipped.size() == 2);
}

}  // namespace
}  // namespace attnrt::perf
