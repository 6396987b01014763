// SPDX-License-Identifier: Apache-2.0
// CPUID says what the CPU has, XGETBV which registers the operating system saves.
#include "backends/cpu/cpu_features.hpp"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstring>

#include "backends/cpu/cpu_family.hpp"

namespace attnrt::cpu {
namespace {

struct FeatureName {
  uint32_t bit;
  const char* name;
};

constexpr FeatureName kNames[] = {
    {kFeatureAvx2, "avx2"},
    {kFeatureFma, "fma"},
    {kFeatureF16c, "f16c"},
    {kFeatureAvx512f, "avx512f"},
    {kFeatureAvx512cd, "avx512cd"},
    {kFeatureAvx512bw, "avx512bw"},
    {kFeatureAvx512dq, "avx512dq"},
    {kFeatureAvx512vl, "avx512vl"},
    {kFeatureAvx512Bf16, "avx512_bf16"},
    {kFeatureFastBf16Dot, "fast avx512_bf16"},
    {kFeatureAmxTile, "amx-tile"},
    {kFeatureAmxBf16, "amx-bf16"},
    {kFeatureAmxInt8, "amx-int8"},
    {kFeatureFastOneDnn, "fast onednn"},
};

#if defined(__x86_64__) || defined(__i386__)

constexpr uint32_t kYmmState = 0x06;      // XMM and YMM
constexpr uint32_t kZmmState = 0xe6;      // and opmask, ZMM low, ZMM high
constexpr uint32_t kTileState = 0x60000;  // the shapes of tiles and their data

// Inline assembly, because the intrinsic needs -mxsave and this file is compiled without -m flags.
uint32_t saved_registers() noexcept {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

bool has_bit(uint32_t word, int bit) noexcept { return ((word >> bit) & 1u) != 0; }

CpuIdentity identify() noexcept {
  CpuIdentity cpu;
  uint32_t eax = 0;
  uint32_t words[3] = {};
  uint32_t unused = 0;
  if (__get_cpuid(0, &eax, &words[0], &words[2], &words[1]) == 0) return cpu;
  std::memcpy(cpu.vendor, words, sizeof words);
  if (__get_cpuid(1, &eax, &words[0], &words[1], &unused) == 0) return cpu;
  // The extended parts count for these base families only.
  const uint32_t family = eax >> 8 & 0xf;
  cpu.family = family == 0xf ? family + (eax >> 20 & 0xff) : family;
  cpu.model = eax >> 4 & 0xf;
  if (family == 0x6 || family == 0xf) cpu.model += (eax >> 16 & 0xf) << 4;
  return cpu;
}

// Linux saves 8 KiB of tiles per thread only for processes that ask; it may say no, for a signal
// stack that is too small or by a filter of system calls.
bool tiles_granted() noexcept {
#if defined(__x86_64__) && defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM, in no header of Debian 12
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

uint32_t detect() noexcept {
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return 0;
  const bool os_saves = has_bit(ecx, 27);
  const uint32_t saved = os_saves ? saved_registers() : 0;
  const bool ymm = (saved & kYmmState) == kYmmState && has_bit(ecx, 28);
  const bool zmm = ymm && (saved & kZmmState) == kZmmState;
  uint32_t bits = 0;
  const auto set = [&bits](bool on, CpuFeature feature) {
    if (on) bits |= feature;
  };
  set(ymm && has_bit(ecx, 12), kFeatureFma);
  set(ymm && has_bit(ecx, 29), kFeatureF16c);
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return bits;
  set(ymm && has_bit(ebx, 5), kFeatureAvx2);
  set(zmm && has_bit(ebx, 16), kFeatureAvx512f);
  set(zmm && has_bit(ebx, 17), kFeatureAvx512dq);
  set(zmm && has_bit(ebx, 28), kFeatureAvx512cd);
  set(zmm && has_bit(ebx, 30), kFeatureAvx512bw);
  set(zmm && has_bit(ebx, 31), kFeatureAvx512vl);
  if (has_bit(edx, 24) && (saved & kTileState) == kTileState && tiles_granted()) {
    set(true, kFeatureAmxTile);
    set(has_bit(edx, 22), kFeatureAmxBf16);
    set(has_bit(edx, 25), kFeatureAmxInt8);
  }
  if (eax == 0 || __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) == 0) return bits;
  set(zmm && has_bit(eax, 5), kFeatureAvx512Bf16);
  const CpuFamily& family = find_family(cpu_identity());
  set(zmm && has_bit(eax, 5) && family.bf16_dot_over_fma > 1.0, kFeatureFastBf16Dot);
  set(family.onednn_over_own > 1.0, kFeatureFastOneDnn);
  return bits;
}

#else

CpuIdentity identify() noexcept { return {}; }

uint32_t detect() noexcept { return 0; }

#endif

}  // namespace

uint32_t cpu_features() noexcept {
  static const uint32_t bits = detect();
  return bits;
}

const CpuIdentity& cpu_identity() noexcept {
  static const CpuIdentity cpu = identify();
  return cpu;
}

bool prefetches_next_block() noexcept {
  static const bool answer = std::strcmp(cpu_identity().vendor, "AuthenticAMD") != 0;
  return answer;
}

std::string missing_features(uint32_t needs, uint32_t have) {
  std::string names;
  for (const FeatureName& feature : kNames) {
    if ((needs & ~have & feature.bit) == 0) continue;
    if (!names.empty()) names += ", ";
    names += feature.name;
  }
  return names.empty() ? names : names + " missing";
}

}  // namespace attnrt::cpu
