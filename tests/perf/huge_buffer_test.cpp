// SPDX-License-Identifier: Apache-2.0
// Large memory: aligned, zeroed, moved without copies, refused when absurd.
#include "perf/huge_buffer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

using attnrt::perf::HugeBuffer;

TEST_CASE("memory is aligned to 2 MB and zero, to its last byte") {
  constexpr size_t kBytes = (size_t{5} << 20) + 3;
  HugeBuffer buffer(kBytes);
  CHECK(buffer.size() == kBytes);
  CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % (size_t{2} << 20) == 0);
  CHECK(buffer.data()[0] == std::byte{0});
  CHECK(buffer.data()[kBytes - 1] == std::byte{0});
  std::memset(buffer.data(), 1, kBytes);
  const int64_t huge = buffer.huge_bytes();
  CHECK(huge >= -1);
  CHECK(huge <= int64_t{8} << 20);
}

TEST_CASE("moving hands the memory over") {
  HugeBuffer a(4096);
  std::byte* data = a.data();
  HugeBuffer b(std::move(a));
  CHECK(b.data() == data);
  HugeBuffer c;
  CHECK(c.data() == nullptr);
  c = std::move(b);
  CHECK(c.data() == data);
  CHECK(c.size() == 4096);
}

TEST_CASE("nothing takes nothing, and more than there is throws") {
  const HugeBuffer none(0);
  CHECK(none.data() == nullptr);
  CHECK_THROWS_AS(HugeBuffer(SIZE_MAX - 5), std::bad_alloc);
  CHECK_THROWS_AS(HugeBuffer(size_t{1} << 60), std::bad_alloc);
}
