// SPDX-License-Identifier: Apache-2.0
// Plans whose page ids nobody looks at.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "attnrt/attention.hpp"
#include "tests/support/check.hpp"
#include "tests/support/problem.hpp"

namespace attnrt {
namespace {

TEST_CASE("a trusted plan computes the bits of a checked one, on both backends") {
  test::ProblemShape shape;
  shape.spec = {.num_heads_q = 4, .num_heads_kv = 2, .head_dim = 32, .causal = true};
  shape.sequences = {{1, 700}, {5, 40}, {1, 1}};
  shape.page_size = 16;
  for (const KvLayout layout : {KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked16}) {
    shape.layout = layout;
    const test::Problem problem(shape);
    Plan checked, trusted;
    REQUIRE(make_plan(problem.spec(), problem.batch(), checked).ok());
    REQUIRE(make_plan(problem.spec(), problem.batch(), trusted, {Validation::kTrusted}).ok());
    CHECK(trusted.num_items() == checked.num_items());
    for (const char* backend : {"cpu", "reference"}) {
      CAPTURE(backend);
      ContextOptions options;
      options.backend = backend;
      Context context;
      REQUIRE(Context::create(options, context).ok());
      test::Output want = problem.make_output();
      test::Output got = problem.make_output();
      REQUIRE(attend(context, checked, problem.args(want)).message() == "");
      REQUIRE(attend(context, trusted, problem.args(got)).message() == "");
      CHECK(test::check_same_bits(got, want) == "");
    }
  }
}

TEST_CASE("attend knows the largest page of a checked plan, and nothing of a trusted one's") {
  const std::vector<int32_t> cu_seqlens{0, 1}, used{20}, pages{0, 3};
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens;
  batch.seqused_k = used;
  batch.block_table = BlockTable::dense(pages, 2, 16);
  const AttentionSpec spec{.num_heads_q = 1, .num_heads_kv = 1, .head_dim = 8};
  Plan checked, trusted;
  REQUIRE(make_plan(spec, batch, checked).ok());
  REQUIRE(make_plan(spec, batch, trusted, {Validation::kTrusted}).ok());
  std::vector<float> q(8), out(8), cache(size_t{2} * 4 * 16 * 8);  // four pages; three are said
  AttendArgs args;
  args.q = dense_tensor(static_cast<const void*>(q.data()), DType::kF32, 1, 1, 8);
  args.out = dense_tensor(static_cast<void*>(out.data()), DType::kF32, 1, 1, 8);
  args.kv =
      KvView::paged(cache.data(), cache.data() + 512, DType::kF32, KvLayout::kNHD, 3, 16, 1, 8);
  Context context;
  CHECK(attend(context, checked, args).message().find("block_table[0][1] is 3") == 0);
  CHECK(attend(context, trusted, args).message() == "");
}

}  // namespace
}  // namespace attnrt
