// SPDX-License-Identifier: Apache-2.0
// The conformance suite on the emulated kernels: what a GPU's first run should not be the first to
// find. Fewer problems than on a real backend, because an emulated block takes milliseconds.
#include <doctest/doctest.h>

#include "tests/backends/conformance.hpp"
#include "tests/backends/cuda/cuda_shapes.hpp"
#include "tests/backends/cuda/rotated_query.hpp"
#include "tests/support/build.hpp"
#include "tests/support/simt_attend.hpp"

namespace attnrt::test {
namespace {

void run_suite(DType kv_dtype, uint64_t seed) {
  ConformanceRunner runner;
  runner.name = "emulated";
  runner.adapt = adapt_to_cuda;
  runner.weights = reference::Weights::kBFloat16;
  runner.expected_of = [](const Problem& problem) { return rotated_beforehand(problem); };
  int number = 0;
  runner.run = [&](const Problem& problem, Output& output, LseView lse) {
    SimtAttend options;
    options.reversed = ++number % 2 == 0;
    options.lse = lse.data != nullptr;
    return simt_attend(problem, output, options);
  };
  const int problems = kSlowBuild ? 10 : 250;
  CHECK(check_conformance(runner, kv_dtype, problems, seed) == problems);
}

}  // namespace

TEST_SUITE("CUDA kernels against the contract, emulated") {
  TEST_CASE("bf16 K and V") { run_suite(DType::kBF16, 12); }
  TEST_CASE("f16 K and V") { run_suite(DType::kF16, 13); }
}

}  // namespace attnrt::test
