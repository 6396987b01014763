// SPDX-License-Identifier: Apache-2.0
// The reference as a backend: what a plan passes on must be enough to compute the same.
#include <doctest/doctest.h>

#include <vector>

#include "tests/backends/conformance.hpp"

namespace attnrt {

TEST_SUITE("conformance") {
  TEST_CASE("the reference backend") {
    ContextOptions options;
    options.backend = "reference";
    std::vector<test::NamedContext> contexts(1);
    contexts[0].name = "reference";
    REQUIRE(Context::create(options, contexts[0].context).ok());
    CHECK(contexts[0].context.backend() == "reference");
    constexpr int kProblems = 700;
    CHECK(test::check_conformance(contexts, DType::kBF16, kProblems, 4) == kProblems);
  }
}

}  // namespace attnrt
