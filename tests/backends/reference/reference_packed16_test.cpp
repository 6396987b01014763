// SPDX-License-Identifier: Apache-2.0
// The definition does not depend on where keys stand: packed16 gives the bits that rows give.
#include <doctest/doctest.h>

#include "tests/support/check.hpp"
#include "tests/support/problem.hpp"

namespace attnrt {
namespace {

TEST_CASE("the reference reads packed16 as it reads rows") {
  ContextOptions options;
  options.backend = "reference";
  Context context;
  REQUIRE(Context::create(options, context).ok());
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const int32_t page_size : {16, 32, 48}) {
      for (const bool padded : {false, true}) {
        test::ProblemShape shape;
        shape.spec.num_heads_q = 4;
        shape.spec.num_heads_kv = 2;
        shape.spec.head_dim = 40;
        shape.spec.head_dim_v = 72;
        shape.spec.causal = true;
        shape.kv_dtype = dtype;
        shape.sequences = {{3, 70}, {1, 33}, {2, 16}};
        for (test::SequenceShape& s : shape.sequences) s.leftpad = 16;
        shape.page_size = page_size;
        shape.padded = padded;
        const test::Problem rows(shape);
        shape.layout = KvLayout::kPacked16;
        const test::Problem groups(shape);
        CAPTURE(test::describe(shape));
        test::Output want = rows.make_output();
        test::Output got = groups.make_output();
        REQUIRE(test::run(context, rows, want) == "ok");
        REQUIRE(test::run(context, groups, got) == "ok");
        CHECK(test::check_same_bits(got, want) == "");
      }
    }
  }
}

}  // namespace
}  // namespace attnrt
