// SPDX-License-Identifier: Apache-2.0
// How far a result may be from the reference: FlashAttention's own rule plus a floor.
#pragma once

#include "attnrt/tensor.hpp"
#include "backends/reference/reference.hpp"

namespace attnrt::reference {

/// Collects rows of one call, then says what error that call may have:
///   max|out - ref| <= 2 max|naive - ref| + 2 max|x + 0.3 - 0.3 - x| + 1e-6 max|v|
/// where x is the reference rounded to the dtype of `out` and computed with in that dtype, and
/// naive is stored in that dtype too. Non-finite elements take no part.
class ErrorRule {
 public:
  explicit ErrorRule(DType out_dtype) noexcept : out_dtype_(out_dtype) {}

  void add(const Row& reference, const Row& naive) noexcept;

  [[nodiscard]] double bound() const noexcept;

 private:
  DType out_dtype_;
  double naive_error_ = 0.0;
  double rounding_ = 0.0;
  double max_abs_value_ = 0.0;
};

/// What the natural LSE of a row may be off: relative to max(1, |lse|, max|s|), 1e-5 for f32
/// inputs and 1e-4 where q or K has 16 bits.
double lse_bound(const Row& reference, DType q_dtype, DType kv_dtype) noexcept;

}  // namespace attnrt::reference
