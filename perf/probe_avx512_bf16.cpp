// SPDX-License-Identifier: Apache-2.0
// The multiply loop of AVX-512's bf16 dot products. Exports one symbol.
#include <immintrin.h>

#include "perf/probe_kernels.hpp"

namespace attnrt::perf {
namespace {

constexpr int kLanes = 16;
constexpr int kProductsPerLane = 2;

// Latencies of 4 to 6 cycles on 1 or 2 ports: 12 chains would do, and 24 fit the 32 registers.
constexpr int kChains = 24;

// Each product pair is 1/2 * 1/2 - 1/2 * 1/4 = 1/8, so sums stay exact until 2^21: no denormals.
float dot_chains(int64_t iterations) {
  const auto a = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f003f00));  // 1/2, 1/2
  const auto b =
      reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(0xbe803f00u)));  // -1/4, 1/2
  __m512 x[kChains];
  for (__m512& chain : x) chain = _mm512_setzero_ps();
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) x[c] = _mm512_dpbf16_ps(x[c], a, b);
  }
  __m512 sum = _mm512_setzero_ps();
  for (const __m512& chain : x) sum += chain;
  float total = 0.0f;
  for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
  return total;
}

}  // namespace

constinit const MultiplyLoop kBf16DotLoop = {
    .name = "bf16 dot",
    .run = dot_chains,
    .flops_per_iteration = int64_t{2} * kChains * kLanes * kProductsPerLane,
};

}  // namespace attnrt::perf
