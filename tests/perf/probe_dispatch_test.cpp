// SPDX-License-Identifier: Apache-2.0
// The probes' loops do what they are counted for, in every ISA of this machine.
#include "perf/probe_dispatch.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "attnrt/runtime.hpp"
#include "tests/support/amx_trap.hpp"

namespace attnrt::perf {
namespace {

std::set<const ProbeKernels*> kernels_here() {
  return {&probe_kernels("baseline"), &probe_kernels("avx2"), &probe_kernels("avx512")};
}

TEST_CASE("an ISA gets its own loops, an unknown one the best") {
  CHECK(std::string(probe_kernels("baseline").isa) == "baseline");
  const ProbeKernels& best = probe_kernels();
  CHECK(&probe_kernels("riscv") == &best);
  const std::string isa = best.isa;
  CHECK(&probe_kernels(isa) == &best);
  CHECK(&probe_kernels(isa + "_bf16") == &best);
}

TEST_CASE("no loop leaves a byte out") {
  for (const ProbeKernels* kernels : kernels_here()) {
    for (int variant = 0; variant < kReadVariants; ++variant) {
      const ReadVariant& loop = kernels->reads[variant];
      for (const size_t bytes : {size_t{0}, size_t{1}, size_t{64}, size_t{2047}, size_t{6000}}) {
        // Unaligned on purpose; exactly sized, so that a sanitizer sees a read beyond the end.
        std::vector<unsigned char> memory(bytes + 1, 0);
        unsigned char* const data = memory.data() + 1;
        CAPTURE(kernels->isa);
        CAPTURE(loop.name);
        CAPTURE(bytes);
        const uint64_t before = loop.read(data, static_cast<int64_t>(bytes));
        for (size_t i = 0; i < bytes; i += i < 64 || i + 64 > bytes ? 1 : 61) {
          CAPTURE(i);
          data[i] = 0x5a;
          CHECK(loop.read(data, static_cast<int64_t>(bytes)) != before);
          data[i] = 0;
        }
      }
    }
  }
}

TEST_CASE("multiply-adds stay ordinary numbers however long they run") {
  for (const ProbeKernels* kernels : kernels_here()) {
    CAPTURE(kernels->isa);
    const MultiplyLoop& fma = kernels->fma;
    const float sum = fma.run(10'000);
    // x = x / 2 + 1/4 ends at 1/2 in every lane of every chain: a quarter of the flops counted.
    CHECK(sum == doctest::Approx(static_cast<double>(fma.flops_per_iteration) / 4.0));
  }
}

TEST_CASE("an arithmetic gets its own loop, and every product of it is made") {
  const MultiplyLoop& fma = multiply_loop("baseline", Products::kF32Fma);
  CHECK(&fma == &probe_kernels("baseline").fma);
  const MultiplyLoop& dot = multiply_loop("baseline", Products::kBf16Dot);
  if (&dot == &fma) {
    MESSAGE("no bf16 dot products on this machine");
    return;
  }
  CHECK(std::string(dot.name) == "bf16 dot");
  // Each pair of products, four flops, adds 1/8.
  CHECK(dot.run(1000) == static_cast<float>(dot.flops_per_iteration / 4 * 1000 / 8));
}

#if defined(__x86_64__)
TEST_CASE("every product of AMX is made, whoever executes it") {
  if (!test::AmxTrap::possible()) {
    MESSAGE("skipped, not on this machine: AMX, or Linux with AVX-512 to execute it by trap");
    return;
  }
  const test::AmxTrap trap;
  const test::AmxCounts before = trap.counts();
  // Each pair of products, four flops, adds 1/8.
  CHECK(kAmxBf16Loop.run(5) == static_cast<float>(kAmxBf16Loop.flops_per_iteration / 4 * 5 / 8));
  if (!trap.trapping()) return;
  const test::AmxCounts counts = trap.counts() - before;
  CHECK(counts[test::AmxOp::kTdpbf16ps] * 2 * 16 * 16 * 32 == 5 * kAmxBf16Loop.flops_per_iteration);
}

TEST_CASE("the AMX rate bounds tables that use it only where tiles work") {
  bool amx = false;
  for (const Capability& isa : Runtime::isas()) amx = amx || (isa.name == "amx" && isa.available);
  for (const char* isa : {"amx", "onednn"}) {
    CHECK((&multiply_loop(isa, Products::kBf16Dot) == &kAmxBf16Loop) == amx);
    CHECK(&multiply_loop(isa, Products::kF32Fma) != &kAmxBf16Loop);
  }
}
#endif

}  // namespace
}  // namespace attnrt::perf
