// SPDX-License-Identifier: Apache-2.0
// Masks and scores as source of kernels: what the attention kernels ask for (see
// kernels/expression.cuh), printed from the steps that tile machines run. Knows no CUDA, so that
// the tests compile it as C++.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "attnrt/expr.hpp"
#include "attnrt/tensor.hpp"
#include "src/expr/tile_code.hpp"

namespace attnrt::cuda {

/// A mask or a score that is to be printed.
struct SourceProgram {
  expr::TileCode code{};  // without steps: there is none
  std::span<const expr::Slot> slots{};
  bool wide = true;  // integers need 64 bits: expr::needs_int64()

  [[nodiscard]] bool exists() const { return code.steps != nullptr; }
};

/// A struct `name` with nothing but `DeviceSlot slots[n]` as data: the mask's, then the score's, at
/// least one.
std::string expression_source(const SourceProgram& mask, const SourceProgram& score,
                              std::string_view name);

/// Members of that.
inline size_t num_device_slots(const SourceProgram& mask, const SourceProgram& score) {
  const size_t slots = mask.slots.size() + score.slots.size();
  return slots > 0 ? slots : 1;
}

/// Which attention kernel.
struct KernelShape {
  DType dtype = DType::kBF16;  // of q and the cache: bf16 or f16
  int32_t padded_dim = 64;
  bool tall = false;
};

inline constexpr char kKernelName[] = "attnrt_attend";

/// A translation unit with the kernel kKernelName(AttendParams, expression).
std::string kernel_source(const SourceProgram& mask, const SourceProgram& score,
                          const KernelShape& shape);

}  // namespace attnrt::cuda
