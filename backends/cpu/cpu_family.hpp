// SPDX-License-Identifier: Apache-2.0
// What was measured of families of CPUs: the defaults of choices that no feature bit decides.
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.hpp"

namespace attnrt::cpu {

struct CpuFamily {
  const char* vendor;  // as CPUID spells it
  uint32_t family;
  uint32_t first_model, last_model;
  const char* name;          // "Zen 5"
  double bf16_dot_over_fma;  // rate of VDPBF16PS over that of f32 FMA, in multiply-adds
  double onednn_over_own;    // speed of ISA "onednn" over the best other one where it is worst, by
                             // `attnrt-perf tune`; 0: not measured
  const char* source;        // where the figure comes from
};

/// The family of a CPU, or one without name, vendor and figures (rate 0) where nothing is known.
const CpuFamily& find_family(const CpuIdentity& cpu) noexcept;

}  // namespace attnrt::cpu
