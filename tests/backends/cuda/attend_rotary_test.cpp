// SPDX-License-Identifier: Apache-2.0
// rotary_q in the attention kernels, emulated: the bits are those of a q that was rotated before
// the call, however the call is cut.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/backends/cuda/cuda_shapes.hpp"
#include "tests/backends/cuda/rotated_query.hpp"
#include "tests/support/check.hpp"
#include "tests/support/elements.hpp"
#include "tests/support/simt_attend.hpp"

namespace attnrt::test {
namespace {

constexpr int32_t kPositions = 90;

// Tables of random numbers, no cosines: each is used for its own pair only, or the result shows it.
struct Tables {
  Elements cos, sin;
  RotaryView view;

  Tables(DType dtype, int32_t rotary_dim, bool interleaved)
      : cos(dtype, int64_t{kPositions} * rotary_dim / 2), sin(cos) {
    for (int64_t i = 0; i < cos.size(); ++i) {
      cos.set(i, static_cast<float>(hashed(1, 2, i, 3)));
      sin.set(i, static_cast<float>(hashed(4, 5, i, 6)));
    }
    view = {cos.data(), sin.data(), dtype, kPositions, rotary_dim, interleaved};
  }
};

Output rotated_in_kernel(const Problem& problem, const Tables& tables, bool constant) {
  Output output = problem.make_output();
  Plan plan;
  REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
  AttendArgs args = problem.args(output);
  args.rotary_q = tables.view;
  args.rotary_q_constant = constant;
  SimtMemory memory;
  name_buffers(args, *plan.data(), memory);
  CHECK(simt_attend(*plan.data(), args, memory) == "");
  return output;
}

Output as_it_is(const Problem& problem) {
  Output output = problem.make_output();
  CHECK(simt_attend(problem, output) == "");
  return output;
}

}  // namespace

TEST_SUITE("rotary_q in CUDA kernels, emulated") {
  TEST_CASE("both pair orders, tables of every dtype, part of a row: bits of q rotated before") {
    struct Case {
      DType tables;
      DType dtype;
      int32_t dim, rotary_dim;
      bool interleaved, constant, padded;
    };
    for (const Case& c : {Case{DType::kF32, DType::kBF16, 64, 64, false, false, false},
                          Case{DType::kBF16, DType::kBF16, 64, 32, true, true, false},
                          Case{DType::kF16, DType::kF16, 72, 20, false, true, true},
                          Case{DType::kF32, DType::kF16, 61, 60, true, false, true},
                          Case{DType::kF32, DType::kBF16, 192, 2, false, false, false}}) {
      CAPTURE(c.dim);
      ProblemShape shape = causal_shape(c.dtype, c.dim, {{1, 70}, {19, 80}, {0, 5}});
      shape.padded = c.padded;
      const Problem problem(shape);
      const Tables tables(c.tables, c.rotary_dim, c.interleaved);
      const Problem before = rotated_beforehand(problem, tables.view, c.constant);
      const Output expected = as_it_is(before);
      CHECK(check_same_bits(expected, rotated_in_kernel(problem, tables, c.constant)) == "");
      CHECK(check_same_bits(expected, as_it_is(problem)) != "");
    }
  }

  TEST_CASE("a prompt, chunks of it and single tokens give the same bits") {
    const Tables tables(DType::kF32, 64, false);
    const ProblemShape whole = causal_shape(DType::kBF16, 64, {{70, 90}});
    const Output expected = rotated_in_kernel(Problem(whole), tables, false);
    int32_t done = 0;
    for (const int32_t tokens : {1, 40, 8, 21}) {
      ProblemShape part = whole;
      SequenceShape& s = part.sequences[0];
      s.q_len = tokens;
      s.first_token = done;
      s.q_start = 20 + done;
      const Output output = rotated_in_kernel(Problem(part), tables, false);
      CHECK(check_same_bits({expected, done}, {output, 0}, tokens) == "");
      done += tokens;
    }
  }
}

}  // namespace attnrt::test
