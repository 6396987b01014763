// SPDX-License-Identifier: Apache-2.0
// Whether the comparison under the trap would find a mistake: kernels that have one must fail it.
#include <doctest/doctest.h>

#if defined(__x86_64__)

#include <string>

#include "backends/cpu/kernels/kernel_table.hpp"
#include "tests/support/amx_call.hpp"
#include "tests/support/amx_trap.hpp"
#include "tests/support/check.hpp"

namespace attnrt::test {

// tests/support/kernels/amx_mutants.cpp
extern const cpu::AttendKernel kAmxMutants[4];

namespace {

std::string check_mutant(int mutant) {
  ProblemShape shape;
  shape.spec.num_heads_kv = 2;
  shape.spec.num_heads_q = 8;
  shape.spec.head_dim = 64;
  shape.spec.causal = true;
  shape.q_dtype = shape.kv_dtype = DType::kBF16;
  shape.layout = KvLayout::kPacked16;
  shape.page_size = 32;
  shape.sequences = {{.q_len = 1, .kv_len = 101}, {.q_len = 20, .kv_len = 96}};
  const Problem problem(shape);
  Output output = problem.make_output();
  REQUIRE(run_table(amx_table(kAmxMutants[mutant]), problem, output) == "ok");
  return check_close(problem, expect(problem), output, reference::Weights::kBFloat16);
}

TEST_CASE("the AMX kernels pass, and fail with a wrong interleave, stride or keys") {
  if (!amx_possible()) return;
  const AmxTrap trap;
  CHECK(check_mutant(0) == "");
  for (int mutant = 1; mutant < 4; ++mutant) {
    CAPTURE(mutant);
    const std::string found = check_mutant(mutant);
    MESSAGE(found);
    CHECK(found != "");
  }
}

}  // namespace
}  // namespace attnrt::test

#endif
