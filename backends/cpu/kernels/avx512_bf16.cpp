// SPDX-License-Identifier: Apache-2.0
// AVX-512 with BF16, for CPUs whose VDPBF16PS is worth it. Built with those -m flags; exports one
// symbol.
#include "backends/cpu/cpu_features.hpp"
#include "backends/cpu/kernels/avx512_inl.hpp"

namespace attnrt::cpu {
namespace {

// VDPBF16PS adds the products of two pairs, both rounded, to an f32; denormals count as 0.
struct Avx512Bf16 : Avx512ToBf16 {
  using Avx512::broadcast;
  using Avx512::line;
  using Avx512::multiply_add;

  template <int kHalf, int kKeep>
  static __m512i line(Bf16Dot, const uint16_t* p, int) {
    const __m512i pairs = _mm512_load_si512(p);
    if constexpr (kKeep == kKeepBoth) return pairs;
    return _mm512_and_si512(pairs, _mm512_set1_epi32(kKeep == kKeepLow ? 0xffff : -0x10000));
  }
  static __m512i broadcast(Bf16Dot, uint32_t pair) {
    return _mm512_set1_epi32(static_cast<int>(pair));
  }
  static Vec multiply_add(Bf16Dot, __m512i factor, __m512i line, Vec sum) {
#if defined(__clang__)
    // Clang 16 recurses over the casts that the intrinsic needs until its stack ends.
    __m512 total = sum;
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(total) : "v"(factor), "v"(line));
    return total;
#else
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(factor),
                            reinterpret_cast<__m512bh>(line));
#endif
  }
};

}  // namespace

constinit const KernelTable kAvx512Bf16Kernels = {
    .name = "avx512_bf16",
    .needs = kFeatureAvx512f | kFeatureAvx512bw | kFeatureAvx512cd | kFeatureAvx512dq |
             kFeatureAvx512vl | kFeatureAvx512Bf16,
    .wants = kFeatureFastBf16Dot,
    .tile_rows = Avx512Bf16::kShortRows,
    .attend = {},
    .attend_bf16_dot = attend_bf16_dot<Avx512Bf16>,
    .bf16_dot_name = "bf16 dot",
    .merge = nullptr,
    .store = nullptr,
    .merge_states = nullptr,
};

}  // namespace attnrt::cpu
