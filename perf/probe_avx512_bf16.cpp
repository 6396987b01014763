// SPDX-License-Identifier: Apache-2.0
// The multiply loop of AVX-512's bf16 dot products. Exports one symbol.
#include <stdint.h>

#include "perf/probe_kernels.hpp"

namespace attnrt::perf {
namespace {

typedef float Floats __attribute__((vector_size(64)));
typedef uint32_t Pairs __attribute__((vector_size(64)));  // two bf16 in each lane

constexpr int kLanes = 16;
constexpr int kProductsPerLane = 2;

// Latencies of 4 to 6 cycles on 1 or 2 ports: 12 chains would do, and 24 fit the 32 registers.
constexpr int kChains = 24;

__attribute__((always_inline)) inline Floats dot(Floats sum, Pairs a, Pairs b) {
  // Inline assembly, because compilers name the builtin differently.
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}

// Each pair adds 1/2 * 1/2 - 1/2 * 1/4 = 1/8, so sums stay exact up to 2^21: no denormals.
float dot_chains(int64_t iterations) {
  const Pairs a = Pairs{} + 0x3f003f00u;  // 1/2, 1/2
  const Pairs b = Pairs{} + 0xbe803f00u;  // -1/4, 1/2
  Floats x[kChains] = {};
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) x[c] = dot(x[c], a, b);
  }
  Floats sum = {};
  for (const Floats& chain : x) sum += chain;
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
