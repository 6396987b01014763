// SPDX-License-Identifier: Apache-2.0
// What a case hands to make_plan.
#include "perf/case_input.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "perf/cli.hpp"

namespace attnrt::perf {
namespace {

SweepCase small_case() {
  SweepCase c;
  c.heads = {4, 2};
  c.head_dim = 32;
  c.head_dim_v = 16;
  c.layout = KvLayout::kPacked;
  c.batch = 2;
  c.q_len = 100;
  c.kv_len = 128;
  c.threads = 1;
  return c;
}

TEST_CASE("spec and lengths are those of the case") {
  SweepCase c = small_case();
  c.causal = true;
  c.window = 5;
  c.softcap = 3.0f;
  const CaseInput input(c);
  CHECK(input.spec().num_heads_q == 4);
  CHECK(input.spec().num_heads_kv == 2);
  CHECK(input.spec().head_dim_v == 16);
  CHECK(input.spec().causal);
  CHECK(input.spec().window_left == 4);
  CHECK(input.spec().softcap == 3.0f);
  CHECK_FALSE(input.spec().mask.valid());
  CHECK(input.tokens() == 200);
  CHECK(input.batch().cu_seqlens_k.back() == 256);
  CHECK_FALSE(input.batch().block_table.paged());
}

TEST_CASE("pages take the place of packed lengths") {
  SweepCase c = small_case();
  c.layout = KvLayout::kNHD;
  c.page_size = 64;
  CaseInput input(c);
  const std::vector<int32_t> pages{0, 1, 2, 3};
  input.set_pages(pages, 2);
  CHECK(input.batch().cu_seqlens_k.empty());
  CHECK(input.batch().seqused_k[1] == 128);
  CHECK(input.batch().block_table.page_size == 64);
  Plan plan;
  CHECK(make_plan(input.spec(), input.batch(), plan).ok());
}

TEST_CASE("mask and score come with the values of their slots, made for the case's length") {
  SweepCase c = small_case();
  c.mask = "documents";
  c.score = "bias-table";
  const CaseInput input(c);
  REQUIRE(input.batch().mask_values.size() == 1);
  CHECK(input.batch().mask_values[0].shape[0] == 128);
  REQUIRE(input.score_values().size() == 2);
  CHECK(input.score_values()[0].shape[0] == 4);
  CHECK(input.score_values()[0].shape[1] == 255);
  Plan plan;
  const Status status = make_plan(input.spec(), input.batch(), plan);
  CHECK_MESSAGE(status.ok(), status.message());
  c.mask = "no such mask";
  CHECK_THROWS_AS(CaseInput{c}, BadInput);
}

TEST_CASE("the whole mask has the windows of the options") {
  SweepCase c = small_case();
  CHECK(expr::to_string(CaseInput(c).whole_mask()) == "true");
  c.causal = true;
  c.window = 5;
  CHECK(expr::to_string(CaseInput(c).whole_mask()) == "kv <= q && q - kv <= 4");
  c.mask = "kv < 9";
  CHECK(expr::to_string(CaseInput(c).whole_mask()) == "kv < 9 && kv <= q && q - kv <= 4");
}

}  // namespace
}  // namespace attnrt::perf
