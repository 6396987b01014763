// SPDX-License-Identifier: Apache-2.0
// Exhaustive: every 16-bit value, and the borders between every two neighbours.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "attnrt/tensor.hpp"

namespace attnrt {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// A 16-bit float by its definition: sign, exponent bits with a bias, fraction bits.
struct Format {
  int exponent_bits;
  int fraction_bits;
  float (*widen)(uint16_t);
  uint16_t (*narrow)(float);

  [[nodiscard]] int max_exponent() const { return (1 << exponent_bits) - 1; }
  [[nodiscard]] uint16_t infinity() const {
    return static_cast<uint16_t>(max_exponent() << fraction_bits);
  }

  [[nodiscard]] double value(uint16_t bits) const {
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = (bits >> fraction_bits) & max_exponent();
    const int fraction = bits & ((1 << fraction_bits) - 1);
    const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
    if (exponent == max_exponent()) {
      return fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * double{kInf};
    }
    const int significand = exponent == 0 ? fraction : fraction + (1 << fraction_bits);
    return sign * std::ldexp(significand, (exponent == 0 ? 1 : exponent) - bias - fraction_bits);
  }
};

constexpr Format kF16Format = {5, 10, f16_to_f32, f32_to_f16};
constexpr Format kBf16Format = {8, 7, bf16_to_f32, f32_to_bf16};

// Counts instead of a CHECK per value: the latter would take longer than the rest of the tests.
void check_every_value(const Format& format) {
  int wrong_widened = 0;
  int wrong_returned = 0;
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const double expected = format.value(bits);
    const float widened = format.widen(bits);
    if (std::isnan(expected)) {
      wrong_widened += std::isnan(widened) && std::signbit(widened) == (bits >= 0x8000) ? 0 : 1;
      wrong_returned += std::isnan(format.value(format.narrow(widened))) ? 0 : 1;
      continue;
    }
    const bool same = double{widened} == expected && std::signbit(widened) == (bits >= 0x8000);
    wrong_widened += same ? 0 : 1;
    wrong_returned += format.narrow(widened) == bits ? 0 : 1;
  }
  CHECK(wrong_widened == 0);
  CHECK(wrong_returned == 0);
}

// Between neighbours the nearer one wins, in the middle the even one; the step from the largest
// finite value leads to what would follow it, which is infinity.
void check_every_border(const Format& format) {
  int wrong = 0;
  for (uint16_t low = 0; low < format.infinity(); ++low) {
    const auto high = static_cast<uint16_t>(low + 1);
    const double low_value = format.value(low);
    const double step = low_value - format.value(static_cast<uint16_t>(low == 0 ? 1 : low - 1));
    const double high_value = high == format.infinity() ? low_value + step : format.value(high);
    const auto middle = static_cast<float>((low_value + high_value) / 2);
    if (double{middle} != (low_value + high_value) / 2) continue;  // below the range of f32
    const uint16_t even = low % 2 == 0 ? low : high;
    wrong += format.narrow(middle) == even ? 0 : 1;
    wrong += format.narrow(-middle) == (even | 0x8000) ? 0 : 1;
    wrong += format.narrow(std::nextafter(middle, 0.0f)) == low ? 0 : 1;
    wrong += format.narrow(std::nextafter(middle, kInf)) == high ? 0 : 1;
    wrong += format.narrow(-std::nextafter(middle, kInf)) == (high | 0x8000) ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("f16: every value widens exactly and comes back") { check_every_value(kF16Format); }
TEST_CASE("bf16: every value widens exactly and comes back") { check_every_value(kBf16Format); }
TEST_CASE("f16: rounding is to nearest even at every border") { check_every_border(kF16Format); }
TEST_CASE("bf16: rounding is to nearest even at every border") { check_every_border(kBf16Format); }

TEST_CASE("edges of f32 in 16 bits") {
  CHECK(f32_to_f16(65504.0f) == 0x7bff);
  CHECK(f32_to_f16(65519.99f) == 0x7bff);
  CHECK(f32_to_f16(65520.0f) == 0x7c00);
  CHECK(f32_to_f16(-1e30f) == 0xfc00);
  CHECK(f32_to_f16(kInf) == 0x7c00);
  CHECK(f32_to_f16(0x1p-25f) == 0x0000);  // half of the least denormal: ties to zero
  CHECK(f32_to_f16(0x1.000002p-25f) == 0x0001);
  CHECK(f32_to_f16(-0.0f) == 0x8000);
  CHECK(f32_to_f16(std::numeric_limits<float>::denorm_min()) == 0x0000);

  CHECK(f32_to_bf16(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(f32_to_bf16(-kInf) == 0xff80);
  CHECK(f32_to_bf16(-0.0f) == 0x8000);
  CHECK(f32_to_bf16(std::numeric_limits<float>::denorm_min()) == 0x0000);
  CHECK(f32_to_bf16(1.0f) == 0x3f80);
}

TEST_CASE("a NaN stays one, even when its payload has only low bits") {
  const float low_payload = std::nanf("1");
  const float negative = -low_payload;
  for (const float nan : {low_payload, negative, std::numeric_limits<float>::signaling_NaN()}) {
    CHECK(std::isnan(bf16_to_f32(f32_to_bf16(nan))));
    CHECK(std::isnan(f16_to_f32(f32_to_f16(nan))));
  }
  CHECK((f32_to_bf16(negative) & 0x8000) != 0);
  CHECK((f32_to_f16(negative) & 0x8000) != 0);
}

TEST_CASE("element types have names and sizes") {
  CHECK(std::string(to_string(DType::kF32)) == "f32");
  CHECK(std::string(to_string(DType::kBF16)) == "bf16");
  CHECK(std::string(to_string(DType::kF16)) == "f16");
  CHECK(std::string(to_string(static_cast<DType>(9))) == "unknown");
  CHECK(size_of(DType::kF32) == 4);
  CHECK(size_of(DType::kBF16) == 2);
  CHECK(size_of(DType::kF16) == 2);
}

}  // namespace
}  // namespace attnrt
