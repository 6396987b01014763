// SPDX-License-Identifier: Apache-2.0
// Interning: equal expressions are one node, from any thread, and nothing stays behind.
#include "src/expr/graph.hpp"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

#include "tests/src/expr/random_expression.hpp"

namespace attnrt::expr {
namespace {

Expr window_mask() { return kv() <= q() && q() - kv() < iparam("window"); }

TEST_CASE("equal expressions are one node") {
  const Expr mask = window_mask();
  CHECK(mask.same(window_mask()));
  CHECK_FALSE(mask.same(kv() <= q() && q() - kv() < iparam("other")));
  CHECK_FALSE(mask.same(kv() <= q() && q() - kv() < fparam("window")));
  CHECK_FALSE((q() - kv()).same(kv() - q()));
  CHECK_FALSE(buffer("d", ElementType::kI32, 1)[q()].same(
      buffer("d", ElementType::kI32, 1, Order::kSorted)[q()]));
  CHECK_FALSE(buffer("d", ElementType::kI32, 1)[q()].same(buffer("d", ElementType::kI8, 1)[q()]));
}

TEST_CASE("nodes know what they depend on and how large they are") {
  const Expr mask = window_mask();
  CHECK(mask.node()->depends == (kDependsQ | kDependsKv));
  CHECK(mask.node()->depth == 4);
  CHECK(mask.node()->tree_size == 9);
  CHECK((score() + h()).node()->depends == (kDependsScore | kDependsH));
  CHECK((q_len() + hkv()).node()->depends == (kDependsB | kDependsH));
}

TEST_CASE("nodes die with their last owner") {
  const size_t before = num_live_nodes();
  {
    RandomExpressions random(1);
    std::vector<Expr> kept;
    for (int i = 0; i < 100; ++i) kept.push_back(random.mask(5));
    CHECK(num_live_nodes() > before + 100);
  }
  CHECK(num_live_nodes() == before);
}

TEST_CASE("threads that build the same expressions get the same nodes") {
  constexpr int kThreads = 4;
  constexpr int kExpressions = 200;
  std::vector<std::vector<Expr>> made(kThreads);
  std::vector<std::thread> threads;
  for (std::vector<Expr>& mine : made) {
    threads.emplace_back([&mine] {
      for (int round = 0; round < 5; ++round) {  // dropping and making them again races as well
        mine.clear();
        RandomExpressions random(2);
        for (int i = 0; i < kExpressions; ++i) mine.push_back(random.mask(4));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int same = 0;
  for (int t = 1; t < kThreads; ++t) {
    for (size_t i = 0; i < kExpressions; ++i) same += made[size_t(t)][i].same(made[0][i]);
  }
  CHECK(same == (kThreads - 1) * kExpressions);
}

TEST_CASE("nesting is limited, and a mistake stays the first one") {
  Expr deep = q();
  int32_t levels = 1;
  while (deep.valid()) {
    deep = deep + kv();
    ++levels;
  }
  CHECK(levels == kMaxDepth + 1);
  CHECK(deep.error() == "the expression is nested deeper than 512 operations");
  CHECK((deep + !q()).error() == deep.error());
  CHECK((!(deep < 3) && true).error() == deep.error());
}

}  // namespace
}  // namespace attnrt::expr
