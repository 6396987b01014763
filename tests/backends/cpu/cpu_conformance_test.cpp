// SPDX-License-Identifier: Apache-2.0
// The CPU backend against the contract, with the kernels of every ISA that this machine has.
#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "tests/backends/conformance.hpp"
#include "tests/support/build.hpp"
#include "tests/support/check.hpp"

namespace attnrt {
namespace {

std::vector<test::NamedContext> contexts_of_all_isas() {
  std::vector<test::NamedContext> contexts;
  for (const std::string& isa : test::usable_isas()) {
    contexts.push_back({isa, test::cpu_context(isa)});
  }
  return contexts;
}

void run_suite(DType kv_dtype, uint64_t seed) {
  using Clock = std::chrono::steady_clock;
  std::vector<test::NamedContext> contexts = contexts_of_all_isas();
  const auto start = Clock::now();
  const int problems = test::conformance_problems();
  const int cases = test::check_conformance(contexts, kv_dtype, problems, seed);
  const std::chrono::duration<double> seconds = Clock::now() - start;
  MESSAGE(std::string(to_string(kv_dtype)), " K/V: ", problems, " problems, ", cases, " cases, ",
          seconds.count(), " s");
  CHECK(cases == problems * static_cast<int>(contexts.size()));
}

}  // namespace

TEST_SUITE("conformance") {
  TEST_CASE("the suite has at least 5,000 problems, in slow builds 1,500") {
    const int least = test::kSlowBuild ? 1500 : 5000;
    CHECK(kDTypeCount * test::conformance_problems() >= least);
  }

  TEST_CASE("f32 K and V") { run_suite(DType::kF32, 1); }
  TEST_CASE("bf16 K and V") { run_suite(DType::kBF16, 2); }
  TEST_CASE("f16 K and V") { run_suite(DType::kF16, 3); }
}

}  // namespace attnrt
