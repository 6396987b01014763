// SPDX-License-Identifier: Apache-2.0
// AVX-512 F, BW, CD, DQ, VL as the generic kernels use it.
#pragma once

#include <immintrin.h>

#include "backends/cpu/kernels/generic/attend_inl.hpp"

namespace attnrt::cpu {
namespace {

// xsimd 8.1 multiplies, then adds: half the speed of the matrix tiles where both share ports.
template <>
struct MultiplyAdd<xsimd::avx512bw> {
  using Vec = xsimd::batch<float, xsimd::avx512bw>;
  static Vec of(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
};

struct Avx512 : Portable<xsimd::avx512bw> {
  using Ints = xsimd::batch<int32_t, Arch>;
  using WideInts = xsimd::batch<int64_t, Arch>;
  using Portable::line;
  using Portable::load;
  using Portable::store;
  static constexpr int kRegisters = 32;
  static constexpr int kTileRows = 6;
  static constexpr int kShortRows = 8;

  static __m256i load_sixteen(const uint16_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }

  // By hand, because xsimd's converting load goes through the stack: measured 10x slower.
  static Vec load(Bf16, const uint16_t* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_sixteen(p)), 16));
  }
  static Vec load(F16, const uint16_t* p) { return _mm512_cvtph_ps(load_sixteen(p)); }

  static void store(F16, uint16_t* p, Vec x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  // As the scalar narrow(Bf16).
  static void store(Bf16, uint16_t* p, Vec x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i high = _mm512_srli_epi32(_mm512_mask_blend_epi32(is_nan, rounded, quiet), 16);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(high));
  }

  template <int kHalf, int kKeep>
  static Vec line(F32Lines, const float* p, int) {
    return _mm512_load_ps(p);
  }
  template <int kHalf, int kKeep>
  static Vec line(F16Lines, const uint16_t* p, int) {
    return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
  }
  template <int kHalf, int kKeep>
  static Vec line(Bf16Lines, const uint16_t* p, int) {
    const __m512i pairs = _mm512_load_si512(p);
    return _mm512_castsi512_ps(kHalf == 0 ? _mm512_slli_epi32(pairs, 16)
                                          : _mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000)));
  }

  static void transpose(const float* const* rows, Vec* dwords) {
    __m512 r[16];
    transpose_16x16(rows, r);
    for (int i = 0; i < 16; ++i) dwords[i] = r[i];
  }
  template <class Stored>
  static void store_bits(Vec pairs, Stored* to) {
    _mm512_store_ps(to, pairs);
  }
  static void widen_pairs(Bf16, Vec pairs, Vec& low, Vec& high) {
    const __m512i bits = _mm512_castps_si512(pairs);
    low = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
    high = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(-0x10000)));
  }
  static void widen_pairs(F16, Vec pairs, Vec& low, Vec& high) {
    const __m512i bits = _mm512_castps_si512(pairs);
    low = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits));
    high = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
  }
  static void split_pairs(Vec pairs, uint16_t* low, uint16_t* high) {
    const __m512i bits = _mm512_castps_si512(pairs);
    _mm256_store_si256(reinterpret_cast<__m256i*>(low), _mm512_cvtepi32_epi16(bits));
    _mm256_store_si256(reinterpret_cast<__m256i*>(high),
                       _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
  }
  static void interleave(const uint16_t* a, const uint16_t* b, uint16_t* to) {
    const __m512i low = _mm512_cvtepu16_epi32(load_sixteen(a));
    const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(load_sixteen(b)), 16);
    _mm512_store_si512(to, _mm512_or_si512(low, high));
  }

  template <class T>
  static uint32_t lane_bits(xsimd::batch_bool<T, Arch> mask) {
    return static_cast<uint32_t>(mask.data);
  }
  static Vec choose(uint32_t bits, Vec a, Vec b) {
    return _mm512_mask_blend_ps(static_cast<__mmask16>(bits), b, a);
  }
  static Ints choose(uint32_t bits, Ints a, Ints b) {
    return _mm512_mask_blend_epi32(static_cast<__mmask16>(bits), b, a);
  }
  static WideInts choose(uint32_t bits, WideInts a, WideInts b) {
    return _mm512_mask_blend_epi64(static_cast<__mmask8>(bits), b, a);
  }

  static Vec reverse(Vec x) {
    return _mm512_permutexvar_ps(
        _mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), x);
  }

  static float reduce_max(Vec x) { return _mm512_reduce_max_ps(x); }
  static float reduce_add(Vec x) { return _mm512_reduce_add_ps(x); }

  // vreduceps gives 0 for -inf and vscalefps 2^-inf = 0, so neither limit needs a test.
  template <int kDegree>
  static Vec exp2(Vec x) {
    const __m512 fraction = _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT);
    const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT);
    return _mm512_scalef_ps(exp2_fraction<kDegree>(fraction), n);
  }
  // The bound keeps -inf - -inf out; it is the second operand that NaN comes from.
  static Vec exp(Vec x) {
    const __m512 bounded = _mm512_max_ps(_mm512_set1_ps(-200.0f), x);
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(bounded, _mm512_set1_ps(kLog2E)),
                                          _MM_FROUND_TO_NEAREST_INT);
    const Vec y = exp2_fraction<6>(exp_remainder(bounded, n) * Vec(kLog2E));
    return _mm512_scalef_ps(y, n);
  }

 private:
  static __m512 quarters(const float* a, const float* b, const float* c, const float* d) {
    __m512 x = _mm512_castps128_ps512(_mm_loadu_ps(a));
    x = _mm512_insertf32x4(x, _mm_loadu_ps(b), 1);
    x = _mm512_insertf32x4(x, _mm_loadu_ps(c), 2);
    return _mm512_insertf32x4(x, _mm_loadu_ps(d), 3);
  }

  // Column quarters of rows i, i + 4, i + 8, i + 12 are loaded side by side, so that only the
  // transposes within 128-bit lanes are left.
  static void transpose_16x16(const float* const* rows, __m512* r) {
    for (int q = 0; q < 4; ++q) {
      __m512 x[4];
      for (int i = 0; i < 4; ++i) {
        x[i] = quarters(rows[i] + 4 * q, rows[i + 4] + 4 * q, rows[i + 8] + 4 * q,
                        rows[i + 12] + 4 * q);
      }
      const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(x[0], x[1]));
      const __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(x[0], x[1]));
      const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(x[2], x[3]));
      const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(x[2], x[3]));
      r[4 * q] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
      r[4 * q + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
      r[4 * q + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
      r[4 * q + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
  }
};

#if defined(__AVX512BF16__)
// With its conversions, which count denormals as 0.
struct Avx512ToBf16 : Avx512 {
  using Avx512::store;
  static void store(Bf16, uint16_t* p, Vec x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
  }
  // One after the other.
  static void store_two(Bf16, uint16_t* p, Vec x, Vec y) {
    _mm512_storeu_si512(p, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(y, x)));
  }
};
#endif

}  // namespace

}  // namespace attnrt::cpu
