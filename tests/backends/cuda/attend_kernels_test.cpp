// SPDX-License-Identifier: Apache-2.0
// The attention kernels' own source, emulated: results that the conformance suite does not pin down
// (bits, special values), and kernels that are wrong on purpose.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/backends/cuda/cuda_shapes.hpp"
#include "tests/support/build.hpp"
#include "tests/support/check.hpp"
#include "tests/support/partials.hpp"
#include "tests/support/simt_attend.hpp"

namespace attnrt::test {
namespace {

Output result_of(const Problem& problem) {
  Output output = problem.make_output();
  CHECK(simt_attend(problem, output) == "");
  return output;
}

std::string check_problem(const Problem& problem) {
  const Output output = result_of(problem);
  const std::string wrong =
      check_close(problem, expect(problem), output, reference::Weights::kBFloat16);
  return wrong.empty() ? wrong : wrong + "\n  " + describe(problem.shape());
}

}  // namespace

TEST_SUITE("CUDA attention kernels, emulated") {
  TEST_CASE("one token and many, every head dim, both dtypes; in slow builds two dims") {
    for (const DType dtype : {DType::kF16, DType::kBF16}) {
      for (const int32_t dim : {64, 128, 192, 256}) {
        if (kSlowBuild && dim % 128 == 0) continue;
        CHECK(check_problem(Problem(causal_shape(dtype, dim, {{1, 70}, {1, 3}}))) == "");
        CHECK(check_problem(Problem(causal_shape(dtype, dim, {{33, 70}}))) == "");
      }
    }
  }

  TEST_CASE("a prompt, chunks of it and single tokens give the same bits") {
    for (const int32_t dim : {64, 192}) {
      if (kSlowBuild && dim != 64) continue;
      const ProblemShape whole = causal_shape(DType::kBF16, dim, {{70, 600}});
      const Output expected = result_of(Problem(whole));
      int32_t done = 0;
      for (const int32_t tokens : {1, 40, 8, 21}) {
        ProblemShape part = whole;
        SequenceShape& s = part.sequences[0];
        s.q_len = tokens;
        s.first_token = done;
        s.q_start = 530 + done;
        const Output output = result_of(Problem(part));
        CHECK(check_same_bits({expected, done}, {output, 0}, tokens) == "");
        done += tokens;
      }
    }
  }

  TEST_CASE("page size, layout, alignment and the batch around a sequence change no bit") {
    const ProblemShape paged =
        causal_shape(DType::kF16, kSlowBuild ? 64 : 128, {{20, 600}, {1, kSlowBuild ? 700 : 1500}});
    const Output expected = result_of(Problem(paged));
    ProblemShape other = paged;
    other.page_size = 7;
    CHECK(check_same_bits(expected, result_of(Problem(other))) == "");
    other.layout = KvLayout::kHND;
    other.page_seed = 99;
    CHECK(check_same_bits(expected, result_of(Problem(other))) == "");
    other.layout = KvLayout::kPacked;
    CHECK(check_same_bits(expected, result_of(Problem(other))) == "");
    other.padded = true;  // rows that are not aligned to 16 bytes
    const Output unaligned = result_of(Problem(other));
    CHECK(check_same_bits({expected, 0}, {unaligned, 0}, 21) == "");
    ProblemShape alone = paged;
    alone.sequences = {paged.sequences[1]};
    alone.sequences[0].id = 1;
    const Output one = result_of(Problem(alone));
    CHECK(check_same_bits({expected, 20}, {one, 0}, 1) == "");
  }

  TEST_CASE("the caller's partial states merge to the same bits") {
    ProblemShape shape = causal_shape(DType::kBF16, 64, {{1, 1300}, {3, 0}, {40, 700}});
    shape.spec.has_sinks = true;
    const Problem problem(shape);
    const Output expected = result_of(problem);

    Plan plan;
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    Partials partials(problem, plan.num_splits());
    Output unused = problem.make_output();
    REQUIRE(simt_attend(problem, unused, {}, partials.view) == "");
    Output merged = problem.make_output();
    MergeTask task;
    task.partials = {&partials.view, 1};
    task.out = merged.view;
    task.lse = merged.lse_view;
    task.sinks = problem.sinks.data();
    SimtMemory memory;
    for (const std::vector<float>* list : {&partials.acc, &partials.ref, &partials.sum}) {
      memory.readable(list->data(), list->size() * 4);
    }
    memory.readable(problem.sinks.data(), problem.sinks.size() * 4);
    memory.writable(merged.bytes.data(), merged.bytes.size());
    memory.writable(merged.lse.data(), merged.lse.size() * 4);
    CHECK(simt_merge(task, memory) == "");
    CHECK(check_same_bits(expected, merged) == "");
  }

  TEST_CASE("NaN and infinities in V reach the rows that see them, and no other") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (const int32_t dim : {64, 256}) {
      if (kSlowBuild && dim != 64) continue;
      for (const int32_t tokens : {6, 40}) {
        ProblemShape shape = causal_shape(DType::kBF16, dim, {{tokens, 90}});
        Problem problem(shape);
        problem.set_v(0, 87, 0, 5, nan);
        problem.set_v(0, 88, 0, 6, std::numeric_limits<double>::infinity());
        problem.set_v(0, 89, 1, dim - 1, nan);
        CHECK(check_problem(problem) == "");
      }
    }
  }

  TEST_CASE("NaN in K and q; scores of 1e30; rows whose scores are all -inf") {
    const double inf = std::numeric_limits<double>::infinity();
    Problem problem(causal_shape(DType::kBF16, 64, {{20, 90}, {2, 600}}));
    problem.set_k(0, 80, 0, 3, std::nan(""));
    problem.set_q(0, 4, 3, 7, std::nan(""));
    problem.set_k(1, 10, 0, 3, 1e30);
    problem.set_k(1, 550, 1, 3, -1e30);
    CHECK(check_problem(problem) == "");
    Problem empty(causal_shape(DType::kBF16, 64, {{1, 3}}));
    for (int32_t key = 0; key < 3; ++key) empty.set_k(0, key, 0, 0, -inf);
    empty.set_q(0, 0, 0, 0, 1.0);
    empty.set_q(0, 0, 1, 0, 1.0);
    CHECK(check_problem(empty) == "");
  }
}

}  // namespace attnrt::test
