// SPDX-License-Identifier: Apache-2.0
// NEON with fused multiply-add and f16 conversions: what every 64-bit ARM has, so it is built
// without -m flags.
#include <arm_neon.h>

#include "backends/cpu/kernels/generic/attend_inl.hpp"
#include "backends/cpu/kernels/generic/store_inl.hpp"

namespace attnrt::cpu {
namespace {

struct Neon : Portable<xsimd::neon64> {
  using Portable::choose;
  using Portable::lane_bits;
  using Portable::line;
  using Portable::load;
  using Portable::store;
  static constexpr int kRegisters = 32;
  static constexpr int kTileRows = 6;
  static constexpr int kShortRows = 6;

  static Vec widen_bf16(uint16x4_t bits) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(bits), 16));
  }
  static Vec widen_f16(uint16x4_t bits) { return vcvt_f32_f16(vreinterpret_f16_u16(bits)); }

  static Vec load(Bf16, const uint16_t* p) { return widen_bf16(vld1_u16(p)); }
  static Vec load(F16, const uint16_t* p) { return widen_f16(vld1_u16(p)); }

  static void store(F16, uint16_t* p, Vec x) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
  // As the scalar narrow(Bf16).
  static void store(Bf16, uint16_t* p, Vec x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    vst1_u16(p, vshrn_n_u32(vbslq_u32(vceqq_f32(x, x), rounded, quiet), 16));
  }

  template <int kHalf, int kKeep>
  static Vec line(F16Lines, const uint16_t* p, int part) {
    return load(F16{}, p + part * kLanes);
  }
  template <int kHalf, int kKeep>
  static Vec line(Bf16Lines, const uint16_t* p, int part) {
    const uint32x4_t pairs = vreinterpretq_u32_u16(vld1q_u16(p + 2 * part * kLanes));
    return kHalf == 0 ? low_bf16(pairs) : high_bf16(pairs);
  }

  static void transpose(const float* const* rows, Vec* dwords) {
    float32x4_t r[4];
    for (int i = 0; i < 4; ++i) r[i] = vld1q_f32(rows[i]);
    const float64x2_t even01 = vreinterpretq_f64_f32(vtrn1q_f32(r[0], r[1]));
    const float64x2_t odd01 = vreinterpretq_f64_f32(vtrn2q_f32(r[0], r[1]));
    const float64x2_t even23 = vreinterpretq_f64_f32(vtrn1q_f32(r[2], r[3]));
    const float64x2_t odd23 = vreinterpretq_f64_f32(vtrn2q_f32(r[2], r[3]));
    dwords[0] = vreinterpretq_f32_f64(vzip1q_f64(even01, even23));
    dwords[1] = vreinterpretq_f32_f64(vzip1q_f64(odd01, odd23));
    dwords[2] = vreinterpretq_f32_f64(vzip2q_f64(even01, even23));
    dwords[3] = vreinterpretq_f32_f64(vzip2q_f64(odd01, odd23));
  }
  template <class Stored>
  static void store_bits(Vec pairs, Stored* to) {
    vst1q_u8(reinterpret_cast<uint8_t*>(to), vreinterpretq_u8_f32(pairs));
  }
  static void widen_pairs(Bf16, Vec pairs, Vec& low, Vec& high) {
    low = low_bf16(vreinterpretq_u32_f32(pairs));
    high = high_bf16(vreinterpretq_u32_f32(pairs));
  }
  static void widen_pairs(F16, Vec pairs, Vec& low, Vec& high) {
    low = widen_f16(vmovn_u32(vreinterpretq_u32_f32(pairs)));
    high = widen_f16(vshrn_n_u32(vreinterpretq_u32_f32(pairs), 16));
  }
  static void split_pairs(Vec pairs, uint16_t* low, uint16_t* high) {
    vst1_u16(low, vmovn_u32(vreinterpretq_u32_f32(pairs)));
    vst1_u16(high, vshrn_n_u32(vreinterpretq_u32_f32(pairs), 16));
  }
  static void interleave(const uint16_t* a, const uint16_t* b, uint16_t* to) {
    for (int i = 0; i < 16; i += 8) vst2q_u16(to + 2 * i, {vld1q_u16(a + i), vld1q_u16(b + i)});
  }

  static uint32_t lane_bits(xsimd::batch_bool<int32_t, Arch> mask) { return set_lanes(mask); }
  static uint32_t lane_bits(xsimd::batch_bool<float, Arch> mask) { return set_lanes(mask); }
  static Vec choose(uint32_t bits, Vec a, Vec b) {
    return vbslq_f32(vtstq_u32(vdupq_n_u32(bits), lane_numbers_as_bits()), a, b);
  }

  static float reduce_max(Vec x) { return vmaxvq_f32(x); }
  static float reduce_add(Vec x) { return vaddvq_f32(x); }

 private:
  static uint32x4_t lane_numbers_as_bits() { return uint32x4_t{1, 2, 4, 8}; }
  static uint32_t set_lanes(uint32x4_t mask) {
    return vaddvq_u32(vandq_u32(mask, lane_numbers_as_bits()));
  }
  static Vec low_bf16(uint32x4_t pairs) { return vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16)); }
  static Vec high_bf16(uint32x4_t pairs) {
    return vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000u)));
  }
};

}  // namespace

constinit const KernelTable kNeonKernels = {
    .name = "neon",
    .needs = 0,
    .wants = 0,
    .tile_rows = Neon::kShortRows,
    .attend = {attend<Neon, F32, F32Lines>, attend<Neon, Bf16, Bf16Lines>,
               attend<Neon, F16, F16Lines>},
    .attend_bf16_dot = nullptr,
    .merge = merge_rows<Neon>,
    .store = store_heads<Neon>,
    .merge_states = merge_states<Neon>,
    .pack_group = nullptr,
    .unpack_group = nullptr,
};

}  // namespace attnrt::cpu
