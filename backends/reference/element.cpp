// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/element.hpp"

#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>

namespace attnrt::reference {
namespace {

// A binary format of 16 bits: sign, exponent, fraction.
struct Format {
  int fraction_bits;
  int exponent_bits;

  [[nodiscard]] constexpr int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  [[nodiscard]] constexpr int min_exponent() const { return 1 - bias(); }
  [[nodiscard]] constexpr uint64_t infinity() const {
    return ((uint64_t{1} << exponent_bits) - 1) << fraction_bits;
  }
};

constexpr Format kBFloat16{7, 8};
constexpr Format kFloat16{10, 5};
constexpr int kDoubleFractionBits = 52;
constexpr int kDoubleBias = 1023;

// The format is a constant, because this is what the reference spends most of its time on.
template <Format format>
double decode(uint16_t bits) {
  const uint64_t fraction = bits & ((uint64_t{1} << format.fraction_bits) - 1);
  const uint64_t exponent = (bits & 0x7fffu) >> format.fraction_bits;
  double magnitude = 0.0;
  if (exponent == 0) {
    magnitude =
        std::ldexp(static_cast<double>(fraction), format.min_exponent() - format.fraction_bits);
  } else if (exponent == (uint64_t{1} << format.exponent_bits) - 1) {
    magnitude = fraction == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
  } else {
    const uint64_t wide = exponent + static_cast<uint64_t>(kDoubleBias - format.bias());
    magnitude = std::bit_cast<double>((wide << kDoubleFractionBits) |
                                      (fraction << (kDoubleFractionBits - format.fraction_bits)));
  }
  return (bits & 0x8000u) != 0 ? -magnitude : magnitude;
}

uint16_t encode(Format format, double value) {
  const uint64_t sign = std::signbit(value) ? 0x8000u : 0u;
  if (std::isnan(value)) {
    return static_cast<uint16_t>(sign | format.infinity() |
                                 (uint64_t{1} << (format.fraction_bits - 1)));
  }
  uint64_t bits = format.infinity();
  if (!std::isinf(value)) {
    const double magnitude = std::fabs(value);
    int exponent = format.min_exponent();
    if (magnitude > 0.0 && std::ilogb(magnitude) > exponent) exponent = std::ilogb(magnitude);
    // Counting in units of the last place makes subnormals, ties and carries one case.
    const double units = std::nearbyint(std::ldexp(magnitude, format.fraction_bits - exponent));
    const auto steps = static_cast<uint64_t>(exponent - format.min_exponent());
    const uint64_t finite = (steps << format.fraction_bits) + static_cast<uint64_t>(units);
    if (finite < bits) bits = finite;
  }
  return static_cast<uint16_t>(sign | bits);
}

}  // namespace

double load(DType dtype, const void* data, int64_t index) noexcept {
  switch (dtype) {
    case DType::kF32:
      return static_cast<const float*>(data)[index];
    case DType::kBF16:
      return decode<kBFloat16>(static_cast<const uint16_t*>(data)[index]);
    case DType::kF16:
      return decode<kFloat16>(static_cast<const uint16_t*>(data)[index]);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

void load_row(DType dtype, const void* data, int64_t index, std::span<double> row) noexcept {
  if (dtype == DType::kF32) {
    const float* values = static_cast<const float*>(data) + index;
    for (size_t i = 0; i < row.size(); ++i) row[i] = values[i];
    return;
  }
  const uint16_t* values = static_cast<const uint16_t*>(data) + index;
  if (dtype == DType::kBF16) {
    for (size_t i = 0; i < row.size(); ++i) row[i] = decode<kBFloat16>(values[i]);
  } else {
    for (size_t i = 0; i < row.size(); ++i) row[i] = decode<kFloat16>(values[i]);
  }
}

void store(DType dtype, void* data, int64_t index, double value) noexcept {
  switch (dtype) {
    case DType::kF32:
      static_cast<float*>(data)[index] = static_cast<float>(value);
      return;
    case DType::kBF16:
      static_cast<uint16_t*>(data)[index] = encode(kBFloat16, value);
      return;
    case DType::kF16:
      static_cast<uint16_t*>(data)[index] = encode(kFloat16, value);
      return;
  }
}

double rounded(DType dtype, double value) noexcept {
  float memory = 0.0f;
  if (dtype == DType::kF32) {
    memory = static_cast<float>(value);
    return memory;
  }
  uint16_t bits = 0;
  store(dtype, &bits, 0, value);
  return load(dtype, &bits, 0);
}

}  // namespace attnrt::reference
