// SPDX-License-Identifier: Apache-2.0
// The probes' loops for AVX2 and FMA. Exports one symbol.
namespace attnrt::perf {
namespace {
constexpr int kVectorBytes = 32;
}  // namespace
}  // namespace attnrt::perf

#include "perf/probe_kernels_inl.hpp"

namespace attnrt::perf {

constinit const ProbeKernels kAvx2Probes = {
    .isa = "avx2",
    .reads = kReads,
    .fma = kFma,
};

}  // namespace attnrt::perf
