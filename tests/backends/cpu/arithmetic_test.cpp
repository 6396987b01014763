// SPDX-License-Identifier: Apache-2.0
// Which arithmetic a call runs, seen in its bits.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/check.hpp"

namespace attnrt {
namespace {

using test::Output;
using test::Problem;
using test::ProblemShape;

ProblemShape shape_of(DType q_dtype, DType kv_dtype, KvLayout layout) {
  ProblemShape shape;
  shape.spec.num_heads_q = 6;
  shape.spec.num_heads_kv = 2;
  shape.spec.head_dim = 64;
  shape.spec.causal = true;
  shape.q_dtype = q_dtype;
  shape.kv_dtype = kv_dtype;
  shape.layout = layout;
  shape.page_size = 32;
  shape.sequences = {{40, 700}, {1, 1300}, {9, 9}};
  return shape;
}

std::vector<ProblemShape> shapes() {
  std::vector<ProblemShape> list;
  for (const KvLayout layout :
       {KvLayout::kPacked, KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked16}) {
    list.push_back(shape_of(DType::kBF16, DType::kBF16, layout));
    list.push_back(shape_of(DType::kF32, DType::kBF16, layout));
    list.push_back(shape_of(DType::kF16, DType::kF16, layout));
  }
  ProblemShape rotated = shape_of(DType::kBF16, DType::kBF16, KvLayout::kNHD);
  rotated.rotary = test::Rotary::kHalves;
  list.push_back(rotated);
  return list;
}

Output output_of(std::string_view isa, ProblemShape shape, Arithmetic arithmetic) {
  shape.spec.arithmetic = arithmetic;
  const Problem problem(shape);
  Context context = test::cpu_context(isa);
  Output output = problem.make_output();
  REQUIRE(test::run(context, problem, output) == "ok");
  return output;
}

TEST_CASE("f32 arithmetic has the bits of the f32 table; the fastest differs where the rule says") {
  for (const std::string& isa : test::usable_isas()) {
    if (isa != "avx512_bf16" && isa != "amx") continue;
    CAPTURE(isa);
    for (const ProblemShape& shape : shapes()) {
      const std::string shape_text = test::describe(shape);
      CAPTURE(shape_text);
      const Output plain = output_of("avx512", shape, Arithmetic::kFastest);
      CHECK(test::check_same_bits(output_of(isa, shape, Arithmetic::kFloat32), plain) == "");
      Context context = test::cpu_context(isa);
      const bool dot = test::weights_of(context, Problem(shape)) == reference::Weights::kBFloat16;
      const Output fastest = output_of(isa, shape, Arithmetic::kFastest);
      CHECK(test::check_same_bits(fastest, plain).empty() != dot);
    }
  }
}

}  // namespace
}  // namespace attnrt
