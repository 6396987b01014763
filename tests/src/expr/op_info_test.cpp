// SPDX-License-Identifier: Apache-2.0
// Words and descriptions.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "src/expr/graph.hpp"

namespace attnrt::expr {
namespace {

TEST_CASE("operations that are called have different names") {
  std::set<std::string_view> names;
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& op = info(static_cast<Op>(i));
    if (op.notation != Notation::kCall && op.notation != Notation::kName) continue;
    CHECK_MESSAGE(names.insert(op.text).second, op.text);
    CHECK_FALSE(is_name(op.text));
  }
  CHECK(names.size() == 29);
}

TEST_CASE("names") {
  for (const char* good : {"w", "W2", "a_b", "q2", "score_", "maximum"}) CHECK(is_name(good));
  for (const char* bad : {"", "_w", "2w", "w-", "q", "clamp", "true", "sorted", "bf16", "\xff"}) {
    CHECK_FALSE(is_name(bad));
  }
  CHECK(is_name(std::string(64, 'x')));
  CHECK_FALSE(is_name(std::string(65, 'x')));
}

TEST_CASE("types are described for messages") {
  CHECK(describe(Type::kInt) == "an integer");
  CHECK(describe(Type::kFloat) == "a float");
  CHECK(describe(Type::kPredicate) == "a predicate");
  CHECK(std::string(to_string(ElementType::kBF16)) == "bf16");
  CHECK(std::string(to_string(ElementType::kBool)) == "bool");
}

}  // namespace
}  // namespace attnrt::expr
