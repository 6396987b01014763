// SPDX-License-Identifier: Apache-2.0
// Kernels that fill, read and multiply, launched on the default stream. Errors: cudaGetLastError().
#pragma once

#include <cstdint>

namespace attnrt::perf {

/// bf16 numbers of a plausible spread.
void fill_bf16(void* data, int64_t elements, uint32_t seed);

/// Reads every byte once, 16 at a time. `sink` is memory for one number that is never written.
void read_all(const void* data, int64_t bytes, uint32_t* sink);

/// Multiplies in registers with mma.sync on `num_sms` processors; returns the operations, two per
/// multiply-add.
double multiply_all(bool bf16, int32_t num_sms, float* sink);

}  // namespace attnrt::perf
