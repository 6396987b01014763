// SPDX-License-Identifier: Apache-2.0
// Contexts are made once per number of threads and ISA.
#include "perf/context_pool.hpp"

#include <doctest/doctest.h>

namespace attnrt::perf {
namespace {

TEST_CASE("one context per number of threads and ISA, kept") {
  ContextPool pool("cpu");
  Context* first = nullptr;
  Context* second = nullptr;
  Context* again = nullptr;
  REQUIRE(pool.get(1, "baseline", first).ok());
  REQUIRE(pool.get(2, "baseline", second).ok());
  REQUIRE(pool.get(1, "baseline", again).ok());
  CHECK(first == again);
  CHECK(first != second);
  CHECK(first->num_threads() == 1);
  CHECK(second->num_threads() == 2);
  CHECK(first->isa() == "baseline");
}

TEST_CASE("a wrong name is the library's error and leaves nothing behind") {
  ContextPool pool("cpu");
  Context* context = nullptr;
  CHECK(pool.get(1, "mmx", context).code() == Code::kInvalidArgument);
  CHECK(context == nullptr);
  CHECK(pool.get(1, "mmx", context).code() == Code::kInvalidArgument);
  CHECK(ContextPool("tpu").get(1, "", context).code() == Code::kInvalidArgument);
}

}  // namespace
}  // namespace attnrt::perf
