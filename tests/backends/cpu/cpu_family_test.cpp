// SPDX-License-Identifier: Apache-2.0
// Families of CPUs and what was measured of them.
#include "backends/cpu/cpu_family.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

namespace attnrt::cpu {
namespace {

CpuIdentity made_cpu(const char* vendor, uint32_t family, uint32_t model) {
  CpuIdentity cpu;
  std::memcpy(cpu.vendor, vendor, sizeof cpu.vendor);  // 12 characters and the end
  cpu.family = family;
  cpu.model = model;
  return cpu;
}

TEST_CASE("bf16 products are fast on AMD's CPUs that have them and slow on Intel's") {
  CHECK(find_family(made_cpu("AuthenticAMD", 0x1a, 2)).bf16_dot_over_fma > 1.0);
  CHECK(find_family(made_cpu("AuthenticAMD", 0x19, 0x11)).bf16_dot_over_fma > 1.0);
  CHECK(find_family(made_cpu("GenuineIntel", 6, 0xcf)).bf16_dot_over_fma < 1.0);
  CHECK(find_family(made_cpu("GenuineIntel", 6, 0x8f)).bf16_dot_over_fma < 1.0);
}

TEST_CASE("a family that nobody measured has no figures") {
  for (const CpuIdentity& cpu :
       {made_cpu("GenuineIntel", 6, 0x55), made_cpu("AuthenticAMD", 0x17, 1),
        made_cpu("GenuineIntel", 0x1a, 2), CpuIdentity()}) {
    const CpuFamily& family = find_family(cpu);
    CHECK(family.bf16_dot_over_fma == 0.0);
    CHECK(std::string(family.name).empty());
    CHECK_FALSE(std::string(family.source).empty());
  }
}

TEST_CASE("no family was measured to be faster with oneDNN") {
  for (const uint32_t model : {0xcfu, 0x8fu}) {
    CHECK(find_family(made_cpu("GenuineIntel", 6, model)).onednn_over_own == 0.0);
  }
  CHECK(find_family(made_cpu("AuthenticAMD", 0x19, 0x11)).onednn_over_own == 0.0);
  CHECK(find_family(made_cpu("AuthenticAMD", 0x1a, 2)).onednn_over_own > 0.0);
  CHECK(find_family(made_cpu("AuthenticAMD", 0x1a, 2)).onednn_over_own < 1.0);
  CHECK((cpu_features() & kFeatureFastOneDnn) == 0);
}

TEST_CASE("this CPU's feature bit agrees with its family") {
  const bool fast = (cpu_features() & kFeatureFastBf16Dot) != 0;
  const bool has = (cpu_features() & kFeatureAvx512Bf16) != 0;
  CHECK(fast == (has && find_family(cpu_identity()).bf16_dot_over_fma > 1.0));
}

#if defined(__x86_64__)
TEST_CASE("this CPU has a vendor and a family") {
  CHECK(std::strlen(cpu_identity().vendor) == 12);
  CHECK(cpu_identity().family > 0);
}
#endif

}  // namespace
}  // namespace attnrt::cpu
