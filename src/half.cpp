// SPDX-License-Identifier: Apache-2.0
// Conversions of single 16-bit floats, for tools, tests and edges; kernels have their own.
#include <bit>
#include <cmath>
#include <cstdint>

#include "attnrt/tensor.hpp"

namespace attnrt {

const char* to_string(DType dtype) noexcept {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
  }
  return "unknown";
}

float bf16_to_f32(uint16_t bits) noexcept { return std::bit_cast<float>(uint32_t{bits} << 16); }

uint16_t f32_to_bf16(float value) noexcept {
  const auto bits = std::bit_cast<uint32_t>(value);
  // Truncating a NaN could leave an infinity, so its quiet bit is set.
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  // Adding just under half of the last kept bit, or exactly half when that bit is odd, carries
  // into it for ties to even, and from the largest finite number into infinity.
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float f16_to_f32(uint16_t bits) noexcept {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t fraction = bits & 0x3ffu;
  if (exponent == 0x1fu) {
    const uint32_t quiet = fraction != 0 ? 0x400000u : 0u;
    return std::bit_cast<float>(sign | 0x7f800000u | quiet | (fraction << 13));
  }
  if (exponent == 0) {
    // Denormals are fraction * 2^-24, which f32 holds exactly.
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (fraction << 13));
}

uint16_t f32_to_f16(float value) noexcept {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  }
  // 65520 is halfway between the largest f16 and what would follow it; ties go to infinity.
  if (magnitude >= std::bit_cast<uint32_t>(65520.0f)) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < std::bit_cast<uint32_t>(0x1p-14f)) {
    // At 0.5 the unit in the last place of f32 is that of f16 denormals, 2^-24: the addition
    // rounds, and the low bits of the sum are the f16 fraction.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    const uint32_t fraction = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f);
    return static_cast<uint16_t>(sign | fraction);
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
}

}  // namespace attnrt
