// SPDX-License-Identifier: Apache-2.0
// The multiply probe of attnrt-perf, emulated: it claims the products that it computes.
#include <doctest/doctest.h>

#include <string>

#include "perf/cuda/multiply.cuh"
#include "tests/support/simt.hpp"

namespace attnrt::test {
namespace {

template <class T>
void check_probe() {
  constexpr int32_t kIterations = 3;
  SimtLaunch launch;
  launch.threads = perf::kMultiplyThreads;
  float sink = 0.0f;
  SimtMemory memory;
  memory.writable(&sink, sizeof sink);
  CHECK(simt_run(launch, memory, [&] { perf::multiply_block<T>(kIterations, &sink); }) == "");
  constexpr int64_t kFlopsOfMma = 2 * 16 * 8 * 16;
  CHECK(simt_counts().mma * kFlopsOfMma == perf::multiply_flops(kIterations));
  CHECK(sink == 0.0f);
}

}  // namespace

TEST_CASE("the multiply probe's operations are those of its mma instructions") {
  check_probe<cuda::Half>();
  check_probe<cuda::BFloat16>();
}

}  // namespace attnrt::test
