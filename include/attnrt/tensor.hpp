// SPDX-License-Identifier: Apache-2.0
// Borrowed views of tensors. Lengths are int32, offsets into memory int64; strides are counted in
// elements, and the innermost dimension is contiguous.
#pragma once

#include <array>
#include <cstdint>

namespace attnrt {

/// Element types of q, K, V and out. bf16 and f16 are stored as their 16 bits.
enum class DType : uint8_t { kF32, kBF16, kF16 };
inline constexpr int kDTypeCount = 3;

/// Where a tensor's memory lives.
enum class Device : uint8_t { kCpu, kCuda };

/// Bytes of one element.
constexpr int64_t size_of(DType dtype) noexcept { return dtype == DType::kF32 ? 4 : 2; }

/// "f32", "bf16" or "f16".
const char* to_string(DType dtype) noexcept;

/// One scalar, converted. Rounding is to nearest even; overflow gives an infinity.
float bf16_to_f32(uint16_t bits) noexcept;
float f16_to_f32(uint16_t bits) noexcept;
uint16_t f32_to_bf16(float value) noexcept;
uint16_t f32_to_f16(float value) noexcept;

/// A read-only tensor (tokens, heads, dim).
struct ConstTensorView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  Device device = Device::kCpu;
  std::array<int64_t, 3> shape{};
  std::array<int64_t, 3> strides{};  // elements; strides[2] must be 1
};

/// A tensor (tokens, heads, dim) that a call writes.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Device device = Device::kCpu;
  std::array<int64_t, 3> shape{};
  std::array<int64_t, 3> strides{};  // elements; strides[2] must be 1

  operator ConstTensorView() const noexcept { return {data, dtype, device, shape, strides}; }
};

/// A dense row-major (tokens, heads, dim) view.
constexpr TensorView dense_tensor(void* data, DType dtype, int64_t tokens, int64_t heads,
                                  int64_t dim) noexcept {
  return {data, dtype, Device::kCpu, {tokens, heads, dim}, {heads * dim, dim, 1}};
}
constexpr ConstTensorView dense_tensor(const void* data, DType dtype, int64_t tokens, int64_t heads,
                                       int64_t dim) noexcept {
  return {data, dtype, Device::kCpu, {tokens, heads, dim}, {heads * dim, dim, 1}};
}

}  // namespace attnrt
