// SPDX-License-Identifier: Apache-2.0
// What the CPU is said to have, against what the compiler's own detection says.
#include "backends/cpu/cpu_features.hpp"

#include <doctest/doctest.h>

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

}  // namespace
}  // namespace attnrt::cpu
