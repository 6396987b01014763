// SPDX-License-Identifier: Apache-2.0
// Which of the probes' loops this machine runs.
#include "perf/probe_dispatch.hpp"

#include "backends/cpu/dispatch.hpp"

namespace attnrt::perf {
namespace {

struct Candidate {
  const ProbeKernels* kernels;
  bool (*runs_here)();
};

// Best first. Not the library's own detection: a fault there must not make its limit look lower.
constexpr Candidate kCandidates[] = {
#if defined(__x86_64__)
    {&kAvx512Probes, [] { return __builtin_cpu_supports("avx512f") != 0; }},
    {&kAvx2Probes,
     [] { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0; }},
#endif
    {&kBaselineProbes, [] { return true; }},
};

}  // namespace

const ProbeKernels& probe_kernels(std::string_view isa) {
  for (const Candidate& candidate : kCandidates) {
    if (isa.starts_with(candidate.kernels->isa) && candidate.runs_here()) return *candidate.kernels;
  }
  for (const Candidate& candidate : kCandidates) {
    if (candidate.runs_here()) return *candidate.kernels;
  }
  return kBaselineProbes;
}

const MultiplyLoop& multiply_loop(std::string_view isa, Products products) {
#if defined(__x86_64__)
  const bool dot = products == Products::kBf16Dot;
  // The library's detection here, because it asks the operating system for the tiles.
  const cpu::KernelTable* amx = nullptr;
  const bool tiles = isa == "amx" || isa == "onednn";
  if (dot && tiles && cpu::resolve_table("amx", amx).ok()) return kAmxBf16Loop;
  if (dot && __builtin_cpu_supports("avx512bf16") != 0) return kBf16DotLoop;
#else
  (void)products;
#endif
  return probe_kernels(isa).fma;
}

}  // namespace attnrt::perf
