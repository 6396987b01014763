// SPDX-License-Identifier: Apache-2.0
// Random numbers that are the same on every platform and standard library.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace attnrt::perf {

/// The finaliser of SplitMix64: a bijection that spreads every bit of its argument.
constexpr uint64_t mix_bits(uint64_t x) noexcept {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// SplitMix64: small, and good enough to draw lengths and fill tensors.
class Random {
 public:
  explicit Random(uint64_t seed) noexcept : state_(mix_bits(seed)) {}

  uint64_t bits() noexcept { return mix_bits(state_ += 0x9e3779b97f4a7c15u); }

  /// In (0, 1]: never 0, so that its logarithm is finite.
  double uniform() noexcept { return (static_cast<double>(bits() >> 11) + 1.0) * 0x1p-53; }

  /// In [0, bound). The bias of the remainder is below 2^-30 for the bounds used here.
  uint64_t below(uint64_t bound) noexcept { return bits() % bound; }

  /// Standard normal, by Box and Muller.
  double normal() noexcept {
    const double radius = std::sqrt(-2.0 * std::log(uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  uint64_t state_;
};

}  // namespace attnrt::perf
