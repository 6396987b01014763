// SPDX-License-Identifier: Apache-2.0
// The probes' loops for AVX-512. Exports one symbol.
namespace attnrt::perf {
namespace {
constexpr int kVectorBytes = 64;
}  // namespace
}  // namespace attnrt::perf

#include "perf/probe_kernels_inl.hpp"

namespace attnrt::perf {

constinit const ProbeKernels kAvx512Probes = {
    .isa = "avx512",
    .reads = kReads,
    .fma = kFma,
};

}  // namespace attnrt::perf
