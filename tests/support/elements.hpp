// SPDX-License-Identifier: Apache-2.0
// A list of elements of any dtype, read and written as floats, compared as bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "attnrt/tensor.hpp"

namespace attnrt::test {

class Elements {
 public:
  Elements(DType dtype, int64_t count)
      : dtype_(dtype), bytes_(static_cast<size_t>(count * size_of(dtype)), std::byte{0x5a}) {}

  [[nodiscard]] void* data() { return bytes_.data(); }
  [[nodiscard]] const void* data() const { return bytes_.data(); }
  [[nodiscard]] int64_t size() const {
    return static_cast<int64_t>(bytes_.size()) / size_of(dtype_);
  }

  [[nodiscard]] float get(int64_t i) const {
    if (dtype_ == DType::kF32) {
      float value;
      std::memcpy(&value, at(i), sizeof value);
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, at(i), sizeof bits);
    return dtype_ == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
  }
  void set(int64_t i, float value) {
    if (dtype_ == DType::kF32) {
      std::memcpy(bytes_.data() + i * 4, &value, sizeof value);
      return;
    }
    const uint16_t bits = dtype_ == DType::kBF16 ? f32_to_bf16(value) : f32_to_f16(value);
    std::memcpy(bytes_.data() + i * 2, &bits, sizeof bits);
  }
  [[nodiscard]] bool same_bits(const Elements& other, int64_t i) const {
    return std::memcmp(at(i), other.at(i), static_cast<size_t>(size_of(dtype_))) == 0;
  }

 private:
  [[nodiscard]] const std::byte* at(int64_t i) const { return bytes_.data() + i * size_of(dtype_); }
  DType dtype_;
  std::vector<std::byte> bytes_;
};

}  // namespace attnrt::test
