// SPDX-License-Identifier: Apache-2.0
// Made-up rows: reproducible, different from each other, and normal in the dtype asked for.
#include "perf/token_source.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

using attnrt::DType;
using attnrt::perf::TokenSource;

namespace {

TokenSource make(DType dtype, uint64_t seed) { return TokenSource({dtype, 64, 32, 5000}, seed); }

bool same(const std::byte* a, const std::byte* b, size_t bytes) {
  return std::memcmp(a, b, bytes) == 0;
}

}  // namespace

TEST_CASE("a row is a function of seed, layer, request and position") {
  const TokenSource a = make(DType::kBF16, 1);
  const TokenSource b = make(DType::kBF16, 1);
  const TokenSource c = make(DType::kBF16, 2);
  constexpr size_t kBytes = 64 * 2;
  CHECK(same(a.k_row(3, 7, 11), b.k_row(3, 7, 11), kBytes));
  CHECK(same(a.v_row(3, 7, 11), b.v_row(3, 7, 11), kBytes / 2));
  CHECK(same(a.q(3, 7), b.q(3, 7), 5000 * 2));
  CHECK_FALSE(same(a.k_row(3, 7, 11), c.k_row(3, 7, 11), kBytes));
  CHECK_FALSE(same(a.k_row(3, 7, 11), a.k_row(2, 7, 11), kBytes));
  CHECK_FALSE(same(a.k_row(3, 7, 11), a.k_row(3, 8, 11), kBytes));
  CHECK_FALSE(same(a.k_row(3, 7, 11), a.k_row(3, 7, 12), kBytes));
  CHECK_FALSE(same(a.k_row(3, 7, 11), a.v_row(3, 7, 11), kBytes / 2));
  CHECK_FALSE(same(a.q(3, 7), a.q(3, 8), kBytes));
}

TEST_CASE("values are standard normal in every dtype") {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    CAPTURE(to_string(dtype));
    const TokenSource source = make(dtype, 1);
    const std::byte* q = source.q(0, 0);
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < 5000; ++i) {
      float value = 0.0f;
      if (dtype == DType::kF32) {
        std::memcpy(&value, q + 4 * i, 4);
      } else {
        uint16_t bits = 0;
        std::memcpy(&bits, q + 2 * i, 2);
        value = dtype == DType::kBF16 ? attnrt::bf16_to_f32(bits) : attnrt::f16_to_f32(bits);
      }
      sum += value;
      squares += static_cast<double>(value) * value;
    }
    CHECK(std::abs(sum / 5000.0) < 0.06);
    CHECK(std::abs(squares / 5000.0 - 1.0) < 0.1);
  }
}

TEST_CASE("a step longer than the pool repeats it") {
  const TokenSource source({DType::kF32, 8, 8, 2'500'000}, 1);
  const std::byte* q = source.q(0, 0);
  CHECK(same(q, q + 4 * 1'000'003, 4 * 1000));
  CHECK(same(q + 4 * 400'000, q + 4 * 1'400'003, 4 * 1000));
}
