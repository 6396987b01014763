// SPDX-License-Identifier: Apache-2.0
// How far a result may be from the reference: FlashAttention's own rule plus a floor.
#pragma once

#include <cstdint>

#include "attnrt/tensor.hpp"
#include "backends/reference/reference.hpp"

namespace attnrt::reference {

/// What the softmax weights of a call were multiplied with V as; see cpu::uses_bf16_dot.
enum class Weights : uint8_t { kFloat32, kBFloat16 };

/// Collects rows of one call, then says what error that call may have:
///   max|out - ref| <= 2 max|naive - ref| + 2 max|x + 0.3 - 0.3 - x| + 1e-6 max|v|
/// where x is the reference rounded to the dtype of `out` and computed with in that dtype, and
/// naive is stored in that dtype too. Non-finite elements take no part.
///
/// Weights rounded to bf16 (8 significant bits) are off by at most 2^-8 / (1 + 2^-8) of themselves,
/// while the sum that divides them is not rounded: that alone moves an element by less than
///   2^-8 max(sum p|v| / sum p)
/// Bf16 dot products also take denormal operands, and every product and sum below 2^-126, for 0.
/// A key's weight is at most 1 and the sum at least 1, so its operand, its product and its step of
/// the sum lose 2^-126 each: in all less than 2^-124 per visible key. What scores lose is
/// 3 D 2^-126 max(1, |q|, |k|), below the floor of any bound unless q or k are astronomical.
class ErrorRule {
 public:
  explicit ErrorRule(DType out_dtype) noexcept : out_dtype_(out_dtype) {}

  void add(const Row& reference, const Row& naive) noexcept;

  [[nodiscard]] double bound(Weights weights = Weights::kFloat32) const noexcept;

 private:
  DType out_dtype_;
  double naive_error_ = 0.0;
  double rounding_ = 0.0;
  double max_abs_value_ = 0.0;
  double max_mean_abs_ = 0.0;
  int64_t max_keys_ = 0;
};

/// What the natural LSE of a row may be off: relative to max(1, |lse|, max|s|), 1e-5 for f32
/// inputs and 1e-4 where q or K has 16 bits.
double lse_bound(const Row& reference, DType q_dtype, DType kv_dtype) noexcept;

}  // namespace attnrt::reference
