// SPDX-License-Identifier: Apache-2.0
// The contract as a test of any backend: random problems over everything that a call can be, each
// compared with the reference.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "attnrt/attnrt.hpp"
#include "backends/reference/error_rule.hpp"
#include "tests/support/problem.hpp"

namespace attnrt::test {

struct NamedContext {
  std::string name;
  Context context;
};

/// How many problems of each K/V dtype make up the suite. Builds without optimisation or with
/// sanitizers are 10 to 30 times slower and run fewer; every pair of levels is still met.
int conformance_problems();

/// Runs `count` problems with this K/V dtype through every context. Returns the number of cases
/// (problems x contexts). Fails the running test for each case beyond the error rule, and if some
/// pair of levels was not met.
int check_conformance(std::span<NamedContext> contexts, DType kv_dtype, int count, uint64_t seed);

/// For those that cannot take every problem as it stands, in host memory, through a Context.
struct ConformanceRunner {
  std::string name;
  std::function<void(ProblemShape& shape)> adapt;  // to what it can do
  /// Plans and attends; with a null `lse` it must not be written. Empty, or what is wrong.
  std::function<std::string(const Problem& problem, Output& output, LseView lse)> run;
  reference::Weights weights = reference::Weights::kFloat32;
  /// The problem that the reference is asked for, where it is not the same one.
  std::function<Problem(const Problem& problem)> expected_of{};
};
int check_conformance(const ConformanceRunner& runner, DType kv_dtype, int count, uint64_t seed);

}  // namespace attnrt::test
