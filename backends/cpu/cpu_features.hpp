// SPDX-License-Identifier: Apache-2.0
// Which instruction sets this CPU has and the operating system lets us use. Declarations and bits
// only: kernel files, compiled under other -m flags, include this.
#pragma once

#include <cstdint>
#include <string>

namespace attnrt::cpu {

enum CpuFeature : uint32_t {
  kFeatureAvx2 = 1u << 0,
  kFeatureFma = 1u << 1,
  kFeatureF16c = 1u << 2,
  kFeatureAvx512f = 1u << 3,
  kFeatureAvx512cd = 1u << 4,
  kFeatureAvx512bw = 1u << 5,
  kFeatureAvx512dq = 1u << 6,
  kFeatureAvx512vl = 1u << 7,
  kFeatureAvx512Bf16 = 1u << 8,
  // VDPBF16PS does more products per second than VFMADD231PS: cpu_family.cpp has the figures.
  kFeatureFastBf16Dot = 1u << 9,
  // Set only where the kernel lets this process use the tile registers.
  kFeatureAmxTile = 1u << 10,
  kFeatureAmxBf16 = 1u << 11,
  kFeatureAmxInt8 = 1u << 12,
  // oneDNN's matmuls beat the best kernels of this library: cpu_family.cpp has the figures.
  kFeatureFastOneDnn = 1u << 13,
};

/// Whether software should ask for the next block of packed16 pages, head by head into L2. Emerald
/// Rapids: from 18 to 30 GB/s a core with it. Zen 5 not: 25.4 GB/s a core without, 23.1 with; there
/// AttendTask::close does more.
bool prefetches_next_block() noexcept;

/// Bits of this machine; found once. Where the CPU has AMX, the first call asks the operating
/// system for its registers on behalf of the process; not granted means that the bits are not set.
uint32_t cpu_features() noexcept;

/// What CPUID calls this CPU; found once. Without CPUID all is empty.
struct CpuIdentity {
  char vendor[13] = {};
  uint32_t family = 0;
  uint32_t model = 0;
};
const CpuIdentity& cpu_identity() noexcept;

/// "avx512f missing", "avx2, fma missing"; empty when `have` covers `needs`.
std::string missing_features(uint32_t needs, uint32_t have);

}  // namespace attnrt::cpu
