// SPDX-License-Identifier: Apache-2.0
// What every CPU can run: SSE2 on x86-64, xsimd's default elsewhere. Fills every slot.
#include "backends/cpu/kernels/generic/attend_inl.hpp"
#include "backends/cpu/kernels/generic/packed16_inl.hpp"
#include "backends/cpu/kernels/generic/store_inl.hpp"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace attnrt::cpu {
namespace {

#if defined(__x86_64__)

// 16-bit elements widened in registers, keys transposed four at a time.
struct Baseline : Portable<xsimd::sse2> {
  using Portable::choose;
  using Portable::line;
  using Portable::load;

  static __m128 widen_bf16(__m128i bits) { return _mm_castsi128_ps(_mm_slli_epi32(bits, 16)); }

  // As the scalar widen(F16): 32-bit lanes, upper halves zero.
  static __m128 widen_f16(__m128i bits) {
    const __m128i magnitude = _mm_slli_epi32(_mm_and_si128(bits, _mm_set1_epi32(0x7fff)), 13);
    const __m128i sign = _mm_slli_epi32(_mm_and_si128(bits, _mm_set1_epi32(0x8000)), 16);
    const __m128 wide = _mm_mul_ps(_mm_castsi128_ps(magnitude), _mm_set1_ps(0x1p112f));
    const __m128i special = _mm_and_si128(_mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x0f7fffff)),
                                          _mm_set1_epi32(0x7f800000));
    return _mm_or_ps(wide, _mm_castsi128_ps(_mm_or_si128(sign, special)));
  }

  static Vec load(Bf16, const uint16_t* p) { return widen_bf16(load_four(p)); }
  static Vec load(F16, const uint16_t* p) { return widen_f16(load_four(p)); }

  template <int kHalf, int kKeep>
  static Vec line(Bf16Lines, const uint16_t* p, int part) {
    const __m128i pairs = _mm_load_si128(reinterpret_cast<const __m128i*>(p + 2 * part * kLanes));
    return _mm_castsi128_ps(kHalf == 0 ? _mm_slli_epi32(pairs, 16)
                                       : _mm_and_si128(pairs, _mm_set1_epi32(-0x10000)));
  }

  static void transpose(const float* const* rows, Vec* dwords) {
    __m128 r[4];
    for (int i = 0; i < 4; ++i) r[i] = _mm_loadu_ps(rows[i]);
    _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]);
    for (int i = 0; i < 4; ++i) dwords[i] = r[i];
  }
  static void widen_pairs(Bf16, Vec pairs, Vec& low, Vec& high) {
    const __m128i bits = _mm_castps_si128(pairs);
    low = widen_bf16(bits);
    high = _mm_castsi128_ps(_mm_and_si128(bits, _mm_set1_epi32(-0x10000)));
  }
  static void widen_pairs(F16, Vec pairs, Vec& low, Vec& high) {
    const __m128i bits = _mm_castps_si128(pairs);
    low = widen_f16(_mm_and_si128(bits, _mm_set1_epi32(0xffff)));
    high = widen_f16(_mm_srli_epi32(bits, 16));
  }

  static uint32_t lane_bits(xsimd::batch_bool<float, Arch> mask) {
    return static_cast<uint32_t>(_mm_movemask_ps(mask));
  }
  static uint32_t lane_bits(xsimd::batch_bool<int32_t, Arch> mask) {
    return static_cast<uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(mask)));
  }
  static uint32_t lane_bits(xsimd::batch_bool<int64_t, Arch> mask) {
    return static_cast<uint32_t>(_mm_movemask_pd(_mm_castsi128_pd(mask)));
  }
  static Vec choose(uint32_t bits, Vec a, Vec b) {
    const __m128i lanes = _mm_setr_epi32(1, 2, 4, 8);
    const __m128i set = _mm_and_si128(_mm_set1_epi32(static_cast<int>(bits)), lanes);
    const __m128 mask = _mm_castsi128_ps(_mm_cmpeq_epi32(set, lanes));
    return _mm_or_ps(_mm_and_ps(mask, a), _mm_andnot_ps(mask, b));
  }

 private:
  static __m128i load_four(const uint16_t* p) {
    return _mm_unpacklo_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)),
                              _mm_setzero_si128());
  }
};

#else

using Baseline = Portable<xsimd::default_arch>;

#endif

}  // namespace

constinit const KernelTable kBaselineKernels = {
    .name = "baseline",
    .needs = 0,
    .wants = 0,
    .tile_rows = Baseline::kShortRows,
    .attend = {attend<Baseline, F32, F32Lines>, attend<Baseline, Bf16, Bf16Lines>,
               attend<Baseline, F16, F16Lines>},
    .attend_bf16_dot = nullptr,
    .bf16_dot_name = nullptr,
    .merge = merge_rows<Baseline>,
    .store = store_heads<Baseline>,
    .merge_states = merge_states<Baseline>,
    .pack_group = pack_group,
    .unpack_group = unpack_group,
};

}  // namespace attnrt::cpu
