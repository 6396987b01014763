// SPDX-License-Identifier: Apache-2.0
// The free list: no page twice, none lost, the last one back goes first.
#include "perf/page_allocator.hpp"

#include <doctest/doctest.h>

#include <set>
#include <stdexcept>
#include <vector>

#include "perf/random.hpp"

using attnrt::perf::PageAllocator;
using attnrt::perf::pages_for;

TEST_CASE("pages for keys round up") {
  CHECK(pages_for(0, 16) == 0);
  CHECK(pages_for(1, 16) == 1);
  CHECK(pages_for(16, 16) == 1);
  CHECK(pages_for(17, 16) == 2);
  CHECK(pages_for(5, 1) == 5);
}

TEST_CASE("every page is handed out once, then there are none") {
  PageAllocator pages(5);
  std::set<int32_t> seen;
  for (int i = 0; i < 5; ++i) seen.insert(pages.allocate());
  CHECK(seen == std::set<int32_t>{0, 1, 2, 3, 4});
  CHECK(pages.allocate() == -1);
  CHECK(pages.used() == 5);
  CHECK(pages.peak() == 5);
}

TEST_CASE("the page freed last is handed out first") {
  PageAllocator pages(8);
  const std::vector<int32_t> held{pages.allocate(), pages.allocate(), pages.allocate()};
  pages.release(held);
  CHECK(pages.used() == 0);
  CHECK(pages.allocate() == held.back());
}

TEST_CASE("a page that is not in use cannot be released") {
  PageAllocator pages(2);
  const int32_t page = pages.allocate();
  pages.release(std::vector<int32_t>{page});
  CHECK_THROWS_WITH_AS(pages.release(std::vector<int32_t>{page}),
                       "page 0 is released but not in use", std::logic_error);
  CHECK_THROWS_AS(pages.release(std::vector<int32_t>{-1}), std::logic_error);
  CHECK_THROWS_AS(pages.release(std::vector<int32_t>{2}), std::logic_error);
  CHECK(pages.used() == 0);
}

TEST_CASE("random traffic never shares and never loses a page") {
  constexpr int32_t kPages = 64;
  PageAllocator pages(kPages);
  attnrt::perf::Random random(3);
  std::vector<int32_t> held;
  int32_t largest = 0;
  for (int i = 0; i < 5000; ++i) {
    if (random.below(2) == 0 && !held.empty()) {
      const size_t at = random.below(held.size());
      pages.release(std::vector<int32_t>{held[at]});
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
    } else if (const int32_t page = pages.allocate(); page >= 0) {
      held.push_back(page);
    }
    const std::set<int32_t> distinct(held.begin(), held.end());
    REQUIRE(distinct.size() == held.size());
    REQUIRE(pages.used() == static_cast<int32_t>(held.size()));
    largest = std::max(largest, pages.used());
  }
  CHECK(pages.peak() == largest);
  pages.release(held);
  CHECK(pages.used() == 0);
}
