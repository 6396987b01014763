// SPDX-License-Identifier: Apache-2.0
// What the CPU is said to have, against what the compiler's own detection says.
#include "backends/cpu/cpu_features.hpp"

#include <doctest/doctest.h>

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace attnrt::cpu {
namespace {

TEST_CASE("missing features are named in a fixed order") {
  CHECK(missing_features(0, 0).empty());
  CHECK(missing_features(kFeatureAvx2 | kFeatureFma, kFeatureAvx2 | kFeatureFma).empty());
  CHECK(missing_features(kFeatureAvx512f, 0) == "avx512f missing");
  CHECK(missing_features(kFeatureAvx2 | kFeatureFma | kFeatureF16c, kFeatureFma) ==
        "avx2, f16c missing");
}

TEST_CASE("detection agrees with the compiler's run time") {
  const uint32_t bits = cpu_features();
  CHECK(bits == cpu_features());
#if defined(__x86_64__)
  __builtin_cpu_init();
  CHECK(((bits & kFeatureAvx2) != 0) == (__builtin_cpu_supports("avx2") != 0));
  CHECK(((bits & kFeatureFma) != 0) == (__builtin_cpu_supports("fma") != 0));
  CHECK(((bits & kFeatureAvx512f) != 0) == (__builtin_cpu_supports("avx512f") != 0));
  CHECK(((bits & kFeatureAvx512cd) != 0) == (__builtin_cpu_supports("avx512cd") != 0));
  CHECK(((bits & kFeatureAvx512bw) != 0) == (__builtin_cpu_supports("avx512bw") != 0));
  CHECK(((bits & kFeatureAvx512dq) != 0) == (__builtin_cpu_supports("avx512dq") != 0));
  CHECK(((bits & kFeatureAvx512vl) != 0) == (__builtin_cpu_supports("avx512vl") != 0));
#else
  CHECK(bits == 0);
#endif
}

#if defined(__x86_64__) && defined(__linux__)

// ARCH_GET_XCOMP_PERM: what Linux lets this process use.
TEST_CASE("AMX is there exactly where the operating system has granted its registers") {
  constexpr uint64_t kTileData = uint64_t{1} << 18;
  const bool found = (cpu_features() & kFeatureAmxTile) != 0;
  uint64_t granted = 0;
  const bool known = syscall(SYS_arch_prctl, 0x1022, &granted) == 0;
  CHECK(found == (known && (granted & kTileData) != 0));
  if (!found) CHECK((cpu_features() & (kFeatureAmxBf16 | kFeatureAmxInt8)) == 0);
  CHECK(missing_features(kFeatureAmxTile | kFeatureAmxBf16, 0) == "amx-tile, amx-bf16 missing");
}

#endif

}  // namespace
}  // namespace attnrt::cpu
