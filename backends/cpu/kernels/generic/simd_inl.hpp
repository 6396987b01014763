// SPDX-License-Identifier: Apache-2.0
// What every ISA can do through xsimd alone: loads and stores of the three dtypes, transposes,
// exp2, reductions. An ISA file derives from Portable and replaces what its instructions do better.
// Like all of generic/: unnamed namespace, compiled once per ISA, no weak symbols.
#pragma once

#include <cstdint>
#include <xsimd/xsimd.hpp>

#include "attnrt/tensor.hpp"
#include "backends/cpu/kernels/scratch.hpp"

namespace attnrt::cpu {
namespace {

// Dtypes as types, to be chosen before the loop over keys.
struct F32 {
  using Stored = float;
};
struct Bf16 {
  using Stored = uint16_t;
};
struct F16 {
  using Stored = uint16_t;
};

template <class Kv>
struct IsBf16 {
  static constexpr bool value = false;
};
template <>
struct IsBf16<Bf16> {
  static constexpr bool value = true;
};

// Steps interleaved within a line, products of a line with a row, keys (or dims) that one operand
// of such a product covers. kDot: operands are pairs of bf16, and p is rounded to bf16.
struct F32Lines {
  using Stored = float;
  using Operand = float;
  static constexpr int kInterleave = 1;
  static constexpr int kProducts = 1;
  static constexpr bool kDot = false;
};
struct F16Lines {
  using Stored = uint16_t;
  using Operand = float;
  static constexpr int kInterleave = 1;
  static constexpr int kProducts = 1;
  static constexpr bool kDot = false;
};
struct Bf16Lines {
  using Stored = uint16_t;
  using Operand = float;
  static constexpr int kInterleave = 2;
  static constexpr int kProducts = 2;
  static constexpr bool kDot = false;
};
struct Bf16Dot {
  using Stored = uint16_t;
  using Operand = uint32_t;
  static constexpr int kInterleave = 2;
  static constexpr int kProducts = 1;
  static constexpr bool kDot = true;
};

// The lines of a dot as single values.
template <class Lines>
struct UnpairedOf {
  using Type = Lines;
};
template <>
struct UnpairedOf<Bf16Dot> {
  using Type = Bf16Lines;
};
template <class Lines>
using Unpaired = typename UnpairedOf<Lines>::Type;

// A number as a type.
template <int kValue>
struct Number {
  static constexpr int value = kValue;
};

constexpr float kLog2E = 1.44269504088896340736f;
constexpr float kInfinity = __builtin_inff();

inline float float_of(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
inline uint32_t bits_of(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float widen(F32, float value) { return value; }
inline float widen(Bf16, uint16_t bits) { return float_of(uint32_t{bits} << 16); }

// The product by 2^112 moves the exponent bias from 15 to 127 and makes denormals normal, exactly.
inline float widen(F16, uint16_t bits) {
  const uint32_t magnitude = uint32_t{bits & 0x7fffu} << 13;
  uint32_t wide = bits_of(float_of(magnitude) * 0x1p112f);
  if (magnitude >= 0x0f800000u) wide |= 0x7f800000u;  // inf and NaN
  return float_of(wide | (uint32_t{bits & 0x8000u} << 16));
}

inline float narrow(F32, float value) { return value; }

// To nearest even by adding just less than half; a NaN must not be rounded up into an infinity.
inline uint16_t narrow(Bf16, float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline uint16_t narrow(F16, float value) {
  const uint32_t bits = bits_of(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t half = 0;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x47800000u) {  // 65536 and more; 65520..65536 rounds up below
    half = 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // denormal f16: the FPU rounds at the bit 2^-24
    half = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
  } else {
    half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

// a * b + c, rounded once where the ISA can. An ISA file specialises it where xsimd's is slower.
template <class Arch>
struct MultiplyAdd {
  using Vec = xsimd::batch<float, Arch>;
  static Vec of(Vec a, Vec b, Vec c) { return xsimd::fma(a, b, c); }
};

template <class ArchT>
struct Portable {
  using Arch = ArchT;
  using Vec = xsimd::batch<float, Arch>;
  static constexpr int kLanes = static_cast<int>(Vec::size);
  static constexpr int kRegisters = 16;
  // Rows of a tile where there are many, and up to where all rows are one tile.
  static constexpr int kTileRows = 2;
  static constexpr int kShortRows = 2;

  static Vec fma(Vec a, Vec b, Vec c) { return MultiplyAdd<Arch>::of(a, b, c); }

  static Vec load(F32, const float* p) { return Vec::load_unaligned(p); }
  template <class Kv>
  static Vec load(Kv kv, const uint16_t* p) {
    float wide[kLanes];
    for (int i = 0; i < kLanes; ++i) wide[i] = widen(kv, p[i]);
    return Vec::load_unaligned(wide);
  }

  static void store(F32, float* p, Vec x) { x.store_unaligned(p); }
  template <class Out>
  static void store(Out out, uint16_t* p, Vec x) {
    float wide[kLanes];
    x.store_unaligned(wide);
    for (int i = 0; i < kLanes; ++i) p[i] = narrow(out, wide[i]);
  }

  // Part `part` of the 16 columns of a line, one of its two interleaved steps; lines of one step
  // know no halves.
  template <int kHalf, int kKeep>
  static Vec line(F32Lines, const float* p, int part) {
    return Vec::load_aligned(p + part * kLanes);
  }
  template <int kHalf, int kKeep>
  static Vec line(F16Lines, const uint16_t* p, int part) {
    return load(F16{}, p + part * kLanes);
  }
  template <int kHalf, int kKeep>
  static Vec line(Bf16Lines, const uint16_t* p, int part) {
    float wide[kLanes];
    for (int i = 0; i < kLanes; ++i) wide[i] = widen(Bf16{}, p[2 * (part * kLanes + i) + kHalf]);
    return Vec::load_unaligned(wide);
  }

  template <class Lines>
  static Vec broadcast(Lines, float operand) {
    return Vec(operand);
  }
  template <class Lines>
  static Vec multiply_add(Lines, Vec factor, Vec line, Vec sum) {
    return fma(factor, line, sum);
  }

  // Dwords [0, kLanes) of kLanes rows to one vector per dword.
  static void transpose(const float* const* rows, Vec* dwords) {
    float lanes[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      for (int row = 0; row < kLanes; ++row) __builtin_memcpy(lanes + row, rows[row] + i, 4);
      dwords[i] = Vec::load_unaligned(lanes);
    }
  }
  // Vectors of two 16-bit elements a lane, the lower one first: as they are, widened, taken apart.
  template <class Stored>
  static void store_bits(Vec pairs, Stored* to) {
    float lanes[kLanes];
    pairs.store_unaligned(lanes);
    __builtin_memcpy(to, lanes, sizeof lanes);
  }
  template <class Kv>
  static void widen_pairs(Kv kv, Vec pairs, Vec& low, Vec& high) {
    uint16_t halves[2][kLanes];
    split_pairs(pairs, halves[0], halves[1]);
    low = load(kv, halves[0]);
    high = load(kv, halves[1]);
  }
  static void split_pairs(Vec pairs, uint16_t* low, uint16_t* high) {
    uint32_t lanes[kLanes];
    store_bits(pairs, lanes);
    for (int i = 0; i < kLanes; ++i) {
      low[i] = static_cast<uint16_t>(lanes[i]);
      high[i] = static_cast<uint16_t>(lanes[i] >> 16);
    }
  }
  // Two rows of 16 elements, turn about.
  static void interleave(const uint16_t* a, const uint16_t* b, uint16_t* to) {
    for (int i = 0; i < 16; ++i) {
      to[2 * i] = a[i];
      to[2 * i + 1] = b[i];
    }
  }

  // Bit i: what a comparison found in lane i. And back: bit i ? a : b; bits beyond the lanes are
  // anything.
  template <class T>
  static uint32_t lane_bits(xsimd::batch_bool<T, Arch> mask) {
    constexpr int kCount = static_cast<int>(xsimd::batch<T, Arch>::size);
    bool lanes[kCount];
    mask.store_unaligned(lanes);
    uint32_t bits = 0;
    for (int i = 0; i < kCount; ++i) bits |= (lanes[i] ? 1u : 0u) << i;
    return bits;
  }
  template <class T>
  static xsimd::batch<T, Arch> choose(uint32_t bits, xsimd::batch<T, Arch> a,
                                      xsimd::batch<T, Arch> b) {
    constexpr int kCount = static_cast<int>(xsimd::batch<T, Arch>::size);
    T x[kCount];
    T y[kCount];
    a.store_unaligned(x);
    b.store_unaligned(y);
    for (int i = 0; i < kCount; ++i) x[i] = (bits >> i & 1) != 0 ? x[i] : y[i];
    return xsimd::batch<T, Arch>::load_unaligned(x);
  }

  // Lane i becomes lane kLanes - 1 - i.
  static Vec reverse(Vec x) {
    float lanes[kLanes];
    float turned[kLanes];
    x.store_unaligned(lanes);
    for (int i = 0; i < kLanes; ++i) turned[i] = lanes[kLanes - 1 - i];
    return Vec::load_unaligned(turned);
  }

  static float reduce_max(Vec x) {
    float lanes[kLanes];
    x.store_unaligned(lanes);
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) {
        lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
      }
    }
    return lanes[0];
  }

  static float reduce_add(Vec x) {
    float lanes[kLanes];
    x.store_unaligned(lanes);
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
  }

  // 2^x by the nearest integer n and a polynomial of 2^(x - n). Results below 2^-125
  // are 0 (the sums they go into are at least 1); NaN stays NaN; x is never far above 0.
  template <int kDegree>
  static Vec exp2(Vec x) {
    const Vec magic(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const Vec n = (x + magic) - magic;
    const Vec y = exp2_fraction<kDegree>(x - n);
    return xsimd::select(x < Vec(-125.0f), Vec(0.0f), xsimd::ldexp(y, xsimd::to_int(n)));
  }

  // e^x within 2 ulp, where 2^(x * log2(e)) loses |x| / 2 of them: n * ln(2) is subtracted in two
  // parts, the first with so few bits that its product is exact.
  static Vec exp(Vec x) {
    const Vec magic(12582912.0f);
    const Vec n = (x * Vec(kLog2E) + magic) - magic;
    const Vec y = exp2_fraction<6>(exp_remainder(x, n) * Vec(kLog2E));
    return xsimd::select(x < Vec(-86.0f), Vec(0.0f), xsimd::ldexp(y, xsimd::to_int(n)));
  }

 protected:
  // 2^f for |f| <= 0.5, minimax with the constant term kept at exactly 1. Relative error: degree 4
  // 2.8e-6, degree 5 9e-8, degree 6 2e-9.
  template <int kDegree>
  static Vec exp2_fraction(Vec f) {
    static_assert(kDegree >= 4 && kDegree <= 6);
    constexpr const float* kTerms = kExp2[kDegree - 4];
    Vec y(kTerms[kDegree - 1]);
    for (int i = kDegree - 2; i >= 0; --i) y = fma(y, f, Vec(kTerms[i]));
    return fma(y, f, Vec(1.0f));
  }

  // x - n * ln(2).
  static Vec exp_remainder(Vec x, Vec n) {
    return fma(n, Vec(-kLn2Low), fma(n, Vec(-kLn2High), x));
  }

  static constexpr float kLn2High = 0.693359375f;  // 9 bits
  static constexpr float kLn2Low = -2.12194440e-4f;
  static constexpr float kExp2[3][6] = {
      {0.693124175f, 0.240240991f, 0.0559064262f, 0.00958285294f, 0.0f, 0.0f},
      {0.693147004f, 0.240222424f, 0.0555073358f, 0.00967151299f, 0.00132647273f, 0.0f},
      {0.693147182f, 0.240226477f, 0.0555033237f, 0.00961843692f, 0.00133988739f, 0.00015353362f}};
};

// The first n < kLanes elements, zeros after them; reads no byte beyond.
template <class Isa, class Kv>
typename Isa::Vec load_part(Kv kv, const typename Kv::Stored* p, int n) {
  typename Kv::Stored staged[Isa::kLanes] = {};
  for (int i = 0; i < n; ++i) staged[i] = p[i];
  return Isa::load(kv, staged);
}

template <class Isa, class Out>
void store_part(Out out, typename Out::Stored* p, int n, typename Isa::Vec x) {
  typename Out::Stored staged[Isa::kLanes];
  Isa::store(out, staged, x);
  for (int i = 0; i < n; ++i) p[i] = staged[i];
}

template <class Isa>
float exp_scalar(float x) {
  float lanes[Isa::kLanes];
  Isa::exp(typename Isa::Vec(x)).store_unaligned(lanes);
  return lanes[0];
}

// tanh of what a soft cap sees. Below 0.625 an odd polynomial (Cephes), else 1 - 2 / (e^2x + 1):
// both within 2 ulp, where the second alone would lose the small arguments.
template <class Isa>
typename Isa::Vec tanh(typename Isa::Vec x) {
  using Vec = typename Isa::Vec;
  const Vec magnitude = xsimd::abs(x);
  const Vec z = x * x;
  Vec small(-5.70498872745e-3f);
  small = Isa::fma(small, z, Vec(2.06390887954e-2f));
  small = Isa::fma(small, z, Vec(-5.37397155531e-2f));
  small = Isa::fma(small, z, Vec(1.33314422036e-1f));
  small = Isa::fma(small, z, Vec(-3.33332819422e-1f));
  small = Isa::fma(small * z, x, x);
  const Vec bounded = xsimd::select(magnitude > Vec(10.0f), Vec(10.0f), magnitude);
  const Vec e = Isa::exp(bounded * Vec(2.0f));
  const Vec large = Vec(1.0f) - Vec(2.0f) / (e + Vec(1.0f));
  const Vec signed_large = xsimd::select(x < Vec(0.0f), -large, large);
  return xsimd::select(magnitude < Vec(0.625f), small, signed_large);
}

}  // namespace
}  // namespace attnrt::cpu
