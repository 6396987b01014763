// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/element.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

namespace attnrt {
namespace {

double load_bits(DType dtype, uint16_t bits) { return reference::load(dtype, &bits, 0); }

uint16_t store_bits(DType dtype, double value) {
  uint16_t bits = 0;
  reference::store(dtype, &bits, 0, value);
  return bits;
}

}  // namespace

TEST_SUITE("reference") {
  TEST_CASE("16-bit elements are what their formats define") {
    CHECK(load_bits(DType::kBF16, 0x3f80) == 1.0);
    CHECK(load_bits(DType::kBF16, 0xc049) == -3.140625);
    CHECK(load_bits(DType::kBF16, 0x0001) == 0x1p-133);
    CHECK(load_bits(DType::kBF16, 0x7f7f) == 0x1.fep127);
    CHECK(load_bits(DType::kBF16, 0xff80) == -std::numeric_limits<double>::infinity());
    CHECK(std::isnan(load_bits(DType::kBF16, 0x7fc0)));
    CHECK(load_bits(DType::kF16, 0x3c00) == 1.0);
    CHECK(load_bits(DType::kF16, 0x3555) == 0.333251953125);
    CHECK(load_bits(DType::kF16, 0x0001) == 0x1p-24);
    CHECK(load_bits(DType::kF16, 0x03ff) == 0x1.ff8p-15);
    CHECK(load_bits(DType::kF16, 0x7bff) == 65504.0);
    CHECK(load_bits(DType::kF16, 0x7c00) == std::numeric_limits<double>::infinity());
    CHECK(std::isnan(load_bits(DType::kF16, 0xfe00)));
  }

  TEST_CASE("every 16-bit pattern survives a load and a store") {
    for (const DType dtype : {DType::kBF16, DType::kF16}) {
      int wrong = 0;
      for (int bits = 0; bits < 0x10000; ++bits) {
        const double value = load_bits(dtype, static_cast<uint16_t>(bits));
        const uint16_t back = store_bits(dtype, value);
        if (std::isnan(value) ? !std::isnan(load_bits(dtype, back)) : back != bits) ++wrong;
      }
      CHECK(wrong == 0);
    }
  }

  TEST_CASE("stores round to nearest, ties to even, and overflow to infinity") {
    CHECK(store_bits(DType::kBF16, 1.0 + 0x1p-8) == 0x3f80);            // tie, down to even
    CHECK(store_bits(DType::kBF16, 1.0 + 3 * 0x1p-8) == 0x3f82);        // tie, up to even
    CHECK(store_bits(DType::kBF16, 1.0 + 0x1p-8 + 0x1p-40) == 0x3f81);  // no double rounding
    CHECK(store_bits(DType::kBF16, 0x1.ffp0) == 0x4000);                // carry into exponent
    CHECK(store_bits(DType::kBF16, 0x1.fefp127) == 0x7f7f);
    CHECK(store_bits(DType::kBF16, -0x1.ffp127) == 0xff80);
    CHECK(store_bits(DType::kF16, 65519.0) == 0x7bff);
    CHECK(store_bits(DType::kF16, 65520.0) == 0x7c00);
    CHECK(store_bits(DType::kF16, 0x1p-25) == 0x0000);  // tie with zero
    CHECK(store_bits(DType::kF16, 0x1.8p-25) == 0x0001);
    CHECK(store_bits(DType::kF16, 0x1.ffcp-15) == 0x0400);  // subnormal to normal
    CHECK(store_bits(DType::kF16, -0.0) == 0x8000);
    CHECK(reference::rounded(DType::kF32, 0.1) == double{0.1f});
    CHECK(reference::rounded(DType::kF16, 0.3) == 0.300048828125);
  }
}

}  // namespace attnrt
