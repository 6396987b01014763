// SPDX-License-Identifier: Apache-2.0
// The contract as a test of any backend: random problems over everything that a call can be, each
// compared with the reference.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "attnrt/attnrt.hpp"
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

}  // namespace attnrt::test
