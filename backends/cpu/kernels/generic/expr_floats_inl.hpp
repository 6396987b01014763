// SPDX-License-Identifier: Apache-2.0
// Functions of floats over their whole range, within a few ulp. The softmax's own exp is for
// arguments of at most 0 and flushes what a sum of at least 1 cannot notice.
#pragma once

#include "backends/cpu/kernels/generic/simd_inl.hpp"

namespace attnrt::cpu {
namespace {

template <class Isa>
struct FloatFunctions : Isa {
  using Vec = typename Isa::Vec;

  // Halves of n, so that neither power of 2 overflows before the product does.
  static Vec times_power(Vec y, Vec n) {
    const auto whole = xsimd::to_int(n);
    const auto half = whole >> 1;
    return xsimd::ldexp(xsimd::ldexp(y, half), whole - half);
  }

  // Beyond +-300 results are 0 or infinite as at +-300. The bound is the second operand of min and
  // max as NaN has to pass.
  static Vec bounded(Vec x, float limit) {
    x = xsimd::select(x > Vec(limit), Vec(limit), x);
    return xsimd::select(x < Vec(-limit), Vec(-limit), x);
  }

  static Vec nearest(Vec x) {
    const Vec magic(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    return (x + magic) - magic;
  }

  // NaN has no integer: its power is taken as 0, and the fraction carries it.
  static Vec numbers_only(Vec n) { return xsimd::select(n == n, n, Vec(0.0f)); }

  static Vec exp(Vec x) {
    const Vec safe = bounded(x, 150.0f);
    const Vec n = nearest(safe * Vec(kLog2E));
    const Vec y = Isa::template exp2_fraction<6>(Isa::exp_remainder(safe, n) * Vec(kLog2E));
    return times_power(y, numbers_only(n));
  }

  static Vec exp2(Vec x) {
    const Vec safe = bounded(x, 200.0f);
    const Vec n = nearest(safe);
    return times_power(Isa::template exp2_fraction<6>(safe - n), numbers_only(n));
  }

  static Vec sigmoid(Vec x) {
    const Vec e = exp(-xsimd::abs(x));
    return xsimd::select(x < Vec(0.0f), e, Vec(1.0f)) / (e + Vec(1.0f));
  }
};

}  // namespace
}  // namespace attnrt::cpu
