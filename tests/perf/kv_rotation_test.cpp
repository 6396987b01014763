// SPDX-License-Identifier: Apache-2.0
// Copies of K and V: enough of them, apart from each other, all of memory used.
#include "perf/kv_rotation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

namespace attnrt::perf {
namespace {

constexpr int64_t kMb = int64_t{1} << 20;

SweepCase small_case(KvLayout layout) {
  SweepCase c;
  c.dtype = DType::kBF16;
  c.heads = {4, 2};
  c.head_dim = 16;
  c.head_dim_v = 8;
  c.layout = layout;
  c.page_size = layout == KvLayout::kPacked ? 0 : 4;
  if (layout == KvLayout::kPacked16) c.page_size = 16;
  c.batch = 3;
  c.q_len = 1;
  c.kv_len = 10;
  c.threads = 1;
  return c;
}

// Counts how often each element of the memory belongs to a key of one copy.
void mark(const KvView& view, const KvRotation& rotation, const SweepCase& c,
          const std::byte* memory, std::vector<int>& uses) {
  const auto mark_row = [&](const void* base, int64_t offset, int32_t dim) {
    const auto* element = static_cast<const uint16_t*>(base) + offset;
    const auto first = element - reinterpret_cast<const uint16_t*>(memory);
    for (int64_t d = 0; d < dim; ++d) ++uses[static_cast<size_t>(first + d)];
  };
  const int64_t pages = c.page_size == 0 ? 1 : static_cast<int64_t>(rotation.pages().size());
  const int64_t tokens = c.page_size == 0 ? int64_t{c.batch} * c.kv_len : c.page_size;
  for (int64_t page = 0; page < pages; ++page) {
    for (int64_t token = 0; token < tokens; ++token) {
      for (int64_t head = 0; head < c.heads.kv; ++head) {
        const KvStrides& ks = view.k_strides;
        const KvStrides& vs = view.v_strides;
        mark_row(view.k, page * ks.page + token * ks.token + head * ks.head, c.head_dim);
        mark_row(view.v, page * vs.page + token * vs.token + head * vs.head, c.head_dim_v);
      }
    }
  }
}

TEST_CASE("copies share nothing and cover all of the memory, in every layout") {
  for (const KvLayout layout : {KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked}) {
    CAPTURE(to_string(layout));
    const SweepCase c = small_case(layout);
    const KvRotation rotation(c, 5);
    std::vector<uint16_t> memory(static_cast<size_t>(rotation.total_bytes()) / 2);
    auto* const bytes = reinterpret_cast<std::byte*>(memory.data());
    std::vector<int> uses(memory.size(), 0);
    for (int64_t copy = 0; copy < 5; ++copy) {
      mark(rotation.view(bytes, copy), rotation, c, bytes, uses);
    }
    CHECK(std::all_of(uses.begin(), uses.end(), [](int n) { return n == 1; }));
  }
}

TEST_CASE("copies in packed16 share nothing, cover all of the memory and begin on lines") {
  SweepCase c = small_case(KvLayout::kPacked16);
  c.head_dim = 40;   // padded to 48
  c.head_dim_v = 8;  // padded to 16
  c.kv_len = 20;
  const KvRotation rotation(c, 5);
  CHECK(rotation.total_bytes() == 5 * 3 * 2 * 16 * 2 * (48 + 16) * 2);
  CHECK(kv_copy_bytes(c) * 5 == rotation.total_bytes());
  std::vector<int> uses(static_cast<size_t>(rotation.total_bytes()), 0);
  alignas(64) static std::byte origin[64];
  for (int64_t copy = 0; copy < 5; ++copy) {
    const KvView view = rotation.view(origin, copy);
    CHECK(view.num_pages == 6);
    const auto mark_page = [&](const void* base, int64_t element, int64_t elements) {
      const auto first = reinterpret_cast<uintptr_t>(base) - reinterpret_cast<uintptr_t>(origin);
      CHECK(first % 64 == 0);
      for (int64_t i = 0; i < elements * 2; ++i) {
        ++uses[static_cast<size_t>(first) + static_cast<size_t>(element * 2 + i)];
      }
    };
    for (int64_t page = 0; page < 6; ++page) {
      for (int64_t head = 0; head < 2; ++head) {
        const int64_t at = page * view.k_strides.page + head * view.k_strides.head;
        mark_page(view.k, at, 16 * 48);
        mark_page(view.v, at, 16 * 16);
      }
    }
  }
  CHECK(std::all_of(uses.begin(), uses.end(), [](int n) { return n == 1; }));
}

TEST_CASE("every page is used once, in an order that is not theirs") {
  SweepCase c = small_case(KvLayout::kNHD);
  c.kv_len = 400;
  const KvRotation rotation(c, 3);
  CHECK(rotation.pages_per_sequence() == 100);
  const std::vector<int32_t>& pages = rotation.pages();
  CHECK(std::set<int32_t>(pages.begin(), pages.end()).size() == 300);
  CHECK(*std::min_element(pages.begin(), pages.end()) == 0);
  CHECK(*std::max_element(pages.begin(), pages.end()) == 299);
  int neighbours = 0;
  for (size_t i = 1; i < pages.size(); ++i) neighbours += pages[i] == pages[i - 1] + 1 ? 1 : 0;
  CHECK(neighbours < 10);
}

TEST_CASE("a turn is longer than the last-level cache, whatever the shape") {
  for (const int64_t llc : {int64_t{0}, 8 * kMb, 32 * kMb, 260 * kMb}) {
    const ColdRule rule{llc, rotation_bytes_for(llc), 16384 * kMb};
    for (const int64_t copy : {int64_t{64}, 4096 * int64_t{3}, kMb, 16 * kMb, 536 * kMb}) {
      CAPTURE(llc);
      CAPTURE(copy);
      const int64_t copies = choose_copies(copy, copy, rule);
      REQUIRE(copies >= 2);
      CHECK((copies == 2 || copies % 2 == 1));
      CHECK(copies * copy >= 8 * llc);
      CHECK(copies * copy >= 512 * kMb);
      CHECK(copies * copy <= rule.budget_bytes);
    }
  }
}

TEST_CASE("what a window leaves out does not count towards the turn") {
  const ColdRule rule{32 * kMb, 512 * kMb, 16384 * kMb};
  CHECK(choose_copies(64 * kMb, 16 * kMb, rule) == 33);
  CHECK(choose_copies(64 * kMb, 64 * kMb, rule) == 9);
}

TEST_CASE("a turn that is asked for is lengthened to two caches") {
  CHECK(choose_copies(16 * kMb, 16 * kMb, {32 * kMb, kMb, 16384 * kMb}) == 5);
  CHECK(choose_copies(16 * kMb, 16 * kMb, {32 * kMb, 96 * kMb, 16384 * kMb}) == 7);
}

TEST_CASE("little memory means fewer copies, and none below two caches a turn") {
  CHECK(choose_copies(16 * kMb, 16 * kMb, {32 * kMb, 512 * kMb, 100 * kMb}) == 5);
  CHECK(choose_copies(16 * kMb, 16 * kMb, {32 * kMb, 512 * kMb, 63 * kMb}) == 0);
  CHECK(choose_copies(16 * kMb, 16 * kMb, {32 * kMb, 512 * kMb, 15 * kMb}) == 0);
  CHECK(choose_copies(80 * kMb, 80 * kMb, {32 * kMb, 512 * kMb, 100 * kMb}) == 1);
}

TEST_CASE("a copy is whole pages of K and V") {
  CHECK(kv_copy_bytes(small_case(KvLayout::kNHD)) == 3 * 12 * 2 * (16 + 8) * 2);
  CHECK(kv_copy_bytes(small_case(KvLayout::kPacked)) == 3 * 10 * 2 * (16 + 8) * 2);
}

}  // namespace
}  // namespace attnrt::perf
