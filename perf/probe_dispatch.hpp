// SPDX-License-Identifier: Apache-2.0
// Which of the probes' loops this machine runs.
#pragma once

#include <string_view>

#include "perf/probe_kernels.hpp"
#include "perf/products.hpp"

namespace attnrt::perf {

/// The loops for an ISA named as Context::isa() does; for a longer name that begins with one of
/// ours ("avx512_bf16") those of that one. Where the name is unknown or this machine lacks it, the
/// best that it can run.
const ProbeKernels& probe_kernels(std::string_view isa = {});

/// The loop of an arithmetic; the f32 one of `isa` where this machine has no instruction for it.
const MultiplyLoop& multiply_loop(std::string_view isa, Products products);

}  // namespace attnrt::perf
