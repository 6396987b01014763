// SPDX-License-Identifier: Apache-2.0
// The loops of the probes over vectors of kVectorBytes, compiled once per ISA and included by the
// files of the ISAs only. Everything sits in an unnamed namespace and uses nothing of the standard
// library, so that no code built for one ISA can be linked into another.
#pragma once

#include <stdint.h>

#include "perf/probe_kernels.hpp"

namespace attnrt::perf {
namespace {

// Compiler vectors, not intrinsics: the same source is SSE2, AVX2, AVX-512 or NEON.
typedef uint64_t Bits __attribute__((vector_size(kVectorBytes), aligned(1), may_alias));
typedef float Floats __attribute__((vector_size(kVectorBytes)));

// Four lines per stream and step: enough loads in flight for one core, few enough registers.
constexpr int64_t kStepBytes = 256;
constexpr int kVectorsPerStep = static_cast<int>(kStepBytes / kVectorBytes);
constexpr int64_t kLineBytes = 64;

__attribute__((always_inline)) inline Bits load(const char* data, int64_t offset) {
  return *reinterpret_cast<const Bits*>(data + offset);
}

__attribute__((always_inline)) inline uint64_t fold(Bits bits) {
  uint64_t sum = 0;
  for (int i = 0; i < kVectorBytes / 8; ++i) sum ^= bits[i];
  return sum;
}

// kStreams places of the buffer are read side by side, and each line is asked for kAheadBytes
// before it is used (0: the hardware's prefetchers alone). kLocality 3 asks for it in L1, 2 in L2.
template <int kStreams, int kAheadBytes, int kLocality>
uint64_t read_streams(const void* buffer, int64_t bytes) {
  const char* const data = static_cast<const char*>(buffer);
  const int64_t stream_bytes = bytes / kStreams / kStepBytes * kStepBytes;
  Bits sums[kStreams] = {};
  for (int64_t at = 0; at < stream_bytes; at += kStepBytes) {
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) {
      const char* const place = data + s * stream_bytes + at;
      if constexpr (kAheadBytes > 0) {
#pragma GCC unroll 4
        for (int64_t line = 0; line < kStepBytes; line += kLineBytes) {
          __builtin_prefetch(place + kAheadBytes + line, 0, kLocality);
        }
      }
#pragma GCC unroll 16
      for (int i = 0; i < kVectorsPerStep; ++i) sums[s] ^= load(place, i * kVectorBytes);
    }
  }
  uint64_t sum = 0;
  for (int s = 0; s < kStreams; ++s) sum ^= fold(sums[s]);
  for (int64_t at = stream_bytes * kStreams; at < bytes; ++at) {
    sum ^= static_cast<unsigned char>(data[at]);
  }
  return sum;
}

// Chains must outnumber latency x ports (4 x 2 = 8 on current cores) and fit the registers (16
// with SSE and AVX2) beside two operands.
constexpr int kChains = 12;

// x = x * a + b with |a| < 1 stays an ordinary number for ever, and as every product depends on the
// one before, none can be hoisted out of the loop.
float fma_chains(int64_t iterations) {
  Floats a = {};
  Floats b = {};
  for (int i = 0; i < kVectorBytes / 4; ++i) {
    a[i] = 0.5f;
    b[i] = 0.25f;
  }
  Floats x[kChains];
  for (int c = 0; c < kChains; ++c) x[c] = b + static_cast<float>(c);
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) x[c] = x[c] * a + b;
  }
  Floats sum = {};
  for (int c = 0; c < kChains; ++c) sum += x[c];
  float total = 0.0f;
  for (int i = 0; i < kVectorBytes / 4; ++i) total += sum[i];
  return total;
}

constexpr MultiplyLoop kFma = {
    .name = "f32 FMA",
    .run = fma_chains,
    .flops_per_iteration = int64_t{2} * kChains * (kVectorBytes / 4),
};

// Which one is best depends on the machine's DRAM channels per core: it is measured, not assumed.
constexpr ReadVariant kReads[kReadVariants] = {
    {"1 stream", read_streams<1, 0, 3>},
    {"4 streams", read_streams<4, 0, 3>},
    {"4 streams, L1 2 KB ahead", read_streams<4, 2048, 3>},
    {"1 stream, L1 4 KB ahead", read_streams<1, 4096, 3>},
    {"8 streams, L2 4 KB ahead", read_streams<8, 4096, 2>},
};

}  // namespace
}  // namespace attnrt::perf
