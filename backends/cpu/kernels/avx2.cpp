// SPDX-License-Identifier: Apache-2.0
// AVX2 + FMA + F16C. Built with -mavx2 -mfma -mf16c; exports one symbol.
#include <immintrin.h>

#include "backends/cpu/cpu_features.hpp"
#include "backends/cpu/kernels/generic/attend_inl.hpp"
#include "backends/cpu/kernels/generic/packed16_inl.hpp"
#include "backends/cpu/kernels/generic/store_inl.hpp"

namespace attnrt::cpu {
namespace {

struct Avx2 : Portable<xsimd::fma3<xsimd::avx2>> {
  using Portable::choose;
  using Portable::line;
  using Portable::load;
  using Portable::store;
  static constexpr int kTileRows = 6;
  static constexpr int kShortRows = 6;

  static __m128i load_eight(const uint16_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }

  // By hand, because xsimd's converting load goes through the stack: measured 10x slower.
  static Vec load(Bf16, const uint16_t* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_eight(p)), 16));
  }
  static Vec load(F16, const uint16_t* p) { return _mm256_cvtph_ps(load_eight(p)); }

  static void store(F16, uint16_t* p, Vec x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  // As the scalar narrow(Bf16).
  static void store(Bf16, uint16_t* p, Vec x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }

  template <int kHalf, int kKeep>
  static Vec line(F16Lines, const uint16_t* p, int part) {
    return load(F16{}, p + part * kLanes);
  }
  template <int kHalf, int kKeep>
  static Vec line(Bf16Lines, const uint16_t* p, int part) {
    const __m256i pairs =
        _mm256_load_si256(reinterpret_cast<const __m256i*>(p + 2 * part * kLanes));
    return _mm256_castsi256_ps(kHalf == 0 ? _mm256_slli_epi32(pairs, 16)
                                          : _mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000)));
  }

  static void transpose(const float* const* rows, Vec* dwords) {
    __m256 r[8];
    transpose_8x8(rows, r);
    for (int i = 0; i < 8; ++i) dwords[i] = r[i];
  }
  template <class Stored>
  static void store_bits(Vec pairs, Stored* to) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_castps_si256(pairs));
  }
  static void widen_pairs(Bf16, Vec pairs, Vec& low, Vec& high) {
    const __m256i bits = _mm256_castps_si256(pairs);
    low = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
    high = _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32(-0x10000)));
  }
  static void widen_pairs(F16, Vec pairs, Vec& low, Vec& high) {
    const __m256i both = halves(pairs);
    low = _mm256_cvtph_ps(_mm256_castsi256_si128(both));
    high = _mm256_cvtph_ps(_mm256_extracti128_si256(both, 1));
  }
  static void split_pairs(Vec pairs, uint16_t* low, uint16_t* high) {
    const __m256i both = halves(pairs);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(low), _mm256_castsi256_si128(both));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high), _mm256_extracti128_si256(both, 1));
  }
  static void interleave(const uint16_t* a, const uint16_t* b, uint16_t* to) {
    for (int i = 0; i < 16; i += 8) {
      const __m128i x = load_eight(a + i);
      const __m128i y = load_eight(b + i);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 2 * i), _mm_unpacklo_epi16(x, y));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 2 * i + 8), _mm_unpackhi_epi16(x, y));
    }
  }

  static uint32_t lane_bits(xsimd::batch_bool<float, Arch> mask) {
    return static_cast<uint32_t>(_mm256_movemask_ps(mask));
  }
  static uint32_t lane_bits(xsimd::batch_bool<int32_t, Arch> mask) {
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(mask)));
  }
  static uint32_t lane_bits(xsimd::batch_bool<int64_t, Arch> mask) {
    return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(mask)));
  }
  static Vec choose(uint32_t bits, Vec a, Vec b) {
    const __m256i lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lanes);
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lanes)));
  }

  static Vec reverse(Vec x) {
    return _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0));
  }

  static float reduce_max(Vec x) {
    const __m128 a = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 b = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
  }
  static float reduce_add(Vec x) {
    const __m128 a = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 b = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
  }

 private:
  // The lower halves of 8 lanes, then the upper ones.
  static __m256i halves(Vec pairs) {
    const __m256i bits = _mm256_castps_si256(pairs);
    const __m256i low = _mm256_and_si256(bits, _mm256_set1_epi32(0xffff));
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(low, _mm256_srli_epi32(bits, 16)), 0xd8);
  }

  // 128-bit halves are brought to their place while loading, which spares 8 shuffles.
  static void transpose_8x8(const float* const* rows, __m256* r) {
    __m256 half[8];
    for (int i = 0; i < 4; ++i) {
      half[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[i])),
                                     _mm_loadu_ps(rows[i + 4]), 1);
      half[i + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[i] + 4)),
                                         _mm_loadu_ps(rows[i + 4] + 4), 1);
    }
    for (int i = 0; i < 8; i += 4) {
      const __m256 a = _mm256_unpacklo_ps(half[i], half[i + 1]);
      const __m256 b = _mm256_unpackhi_ps(half[i], half[i + 1]);
      const __m256 c = _mm256_unpacklo_ps(half[i + 2], half[i + 3]);
      const __m256 d = _mm256_unpackhi_ps(half[i + 2], half[i + 3]);
      r[i] = _mm256_shuffle_ps(a, c, 0x44);
      r[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
      r[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
      r[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
  }
};

}  // namespace

constinit const KernelTable kAvx2Kernels = {
    .name = "avx2",
    .needs = kFeatureAvx2 | kFeatureFma | kFeatureF16c,
    .wants = 0,
    .tile_rows = Avx2::kShortRows,
    .attend = {attend<Avx2, F32, F32Lines>, attend<Avx2, Bf16, Bf16Lines>,
               attend<Avx2, F16, F16Lines>},
    .attend_bf16_dot = nullptr,
    .bf16_dot_name = nullptr,
    .merge = merge_rows<Avx2>,
    .store = store_heads<Avx2>,
    .merge_states = merge_states<Avx2>,
    .pack_group = pack_group,
    .unpack_group = unpack_group,
};

}  // namespace attnrt::cpu
