// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/error_rule.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "backends/reference/element.hpp"

namespace attnrt::reference {

void ErrorRule::add(const Row& reference, const Row& naive) noexcept {
  const double offset = rounded(out_dtype_, 0.3);
  for (size_t d = 0; d < reference.out.size(); ++d) {
    const double naive_out = rounded(out_dtype_, naive.out[d]);
    if (!std::isfinite(reference.out[d]) || !std::isfinite(naive_out)) continue;
    naive_error_ = std::fmax(naive_error_, std::fabs(naive_out - reference.out[d]));
    const double x = rounded(out_dtype_, reference.out[d]);
    const double there = rounded(out_dtype_, x + offset);
    const double back = rounded(out_dtype_, there - offset);
    rounding_ = std::fmax(rounding_, std::fabs(rounded(out_dtype_, back - x)));
  }
  if (std::isfinite(reference.max_abs_value)) {
    max_abs_value_ = std::fmax(max_abs_value_, reference.max_abs_value);
  }
  max_mean_abs_ = std::fmax(max_mean_abs_, reference.max_mean_abs);
  max_keys_ = std::max(max_keys_, reference.visible_keys);
}

double ErrorRule::bound(Weights weights) const noexcept {
  const double f32 = 2.0 * naive_error_ + 2.0 * rounding_ + 1e-6 * max_abs_value_;
  if (weights == Weights::kFloat32) return f32;
  return f32 + 0x1p-8 * max_mean_abs_ + 0x1p-124 * static_cast<double>(max_keys_);
}

double lse_bound(const Row& reference, DType q_dtype, DType kv_dtype) noexcept {
  const bool wide = q_dtype == DType::kF32 && kv_dtype == DType::kF32;
  double unit = 1.0;
  if (std::isfinite(reference.lse)) unit = std::fmax(unit, std::fabs(reference.lse));
  if (std::isfinite(reference.max_abs_score)) unit = std::fmax(unit, reference.max_abs_score);
  return (wide ? 1e-5 : 1e-4) * unit;
}

}  // namespace attnrt::reference
