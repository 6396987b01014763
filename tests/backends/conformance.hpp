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

/// K and V of a suite's problems, and whether packed16 is among their layouts.
struct SuiteCaches {
  DType dtype = DType::kF32;
  bool packed16 = true;
};

/// Runs `count` problems with these caches through every context. Returns the number of cases
/// (problems x contexts). Fails the running test for each case beyond the error rule, and if some
/// pair of levels was not met.
int check_conformance(std::span<NamedContext> contexts, const SuiteCaches& caches, int count,
                      uint64_t seed);

}  // namespace attnrt::test
