// SPDX-License-Identifier: Apache-2.0
// Fills gigabytes with ordinary numbers in little time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attnrt/tensor.hpp"

namespace attnrt::perf {

/// Normally distributed finite values, the same for the same arguments however many threads the
/// machine has. Pieces of a table of 65536 random numbers, so whole stretches repeat far apart.
void random_fill(void* data, DType dtype, int64_t elements, uint64_t seed);

}  // namespace attnrt::perf
