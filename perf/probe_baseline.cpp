// SPDX-License-Identifier: Apache-2.0
// The probes' loops for what every machine of an architecture has (SSE2, NEON). Exports one symbol.
namespace attnrt::perf {
namespace {
constexpr int kVectorBytes = 16;
}  // namespace
}  // namespace attnrt::perf

#include "perf/probe_kernels_inl.hpp"

namespace attnrt::perf {

constinit const ProbeKernels kBaselineProbes = {
    .isa = "baseline",
    .reads = kReads,
    .fma = kFma,
};

}  // namespace attnrt::perf
