// SPDX-License-Identifier: Apache-2.0
// The contract between the probes and their loops for one ISA. Plain data only: this header is
// compiled under every -m flag, so it must never define a function.
#pragma once

#include <cstdint>

namespace attnrt::perf {

/// Reads [data, data + bytes) once. What it returns depends on every byte, so nothing is left out.
using ReadLoop = uint64_t (*)(const void* data, int64_t bytes);

struct ReadVariant {
  const char* name;
  ReadLoop read;
};

inline constexpr int kReadVariants = 5;

/// Multiplies and adds in registers only, `iterations` times flops_per_iteration.
struct MultiplyLoop {
  const char* name;  // of the instruction: "f32 FMA"
  float (*run)(int64_t iterations);
  int64_t flops_per_iteration;
};

struct ProbeKernels {
  const char* isa;           // as Runtime::isas() names it
  const ReadVariant* reads;  // [kReadVariants]
  MultiplyLoop fma;          // f32
};

extern const ProbeKernels kBaselineProbes;
#if defined(__x86_64__)
extern const ProbeKernels kAvx2Probes;
extern const ProbeKernels kAvx512Probes;
extern const MultiplyLoop kBf16DotLoop;  // VDPBF16PS, 512 bits wide
extern const MultiplyLoop kAmxBf16Loop;  // TDPBF16PS; where the operating system permits tiles
#endif

}  // namespace attnrt::perf
