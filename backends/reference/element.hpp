// SPDX-License-Identifier: Apache-2.0
// Elements of tensors as doubles and back, written from the formats' definitions: the library's
// own conversions are among what the reference judges.
#pragma once

#include <cstdint>
#include <span>

#include "attnrt/tensor.hpp"

namespace attnrt::reference {

/// Element `index` of an array of `dtype`, exactly.
double load(DType dtype, const void* data, int64_t index) noexcept;

/// Elements [index, index + row.size()), exactly.
void load_row(DType dtype, const void* data, int64_t index, std::span<double> row) noexcept;

/// Rounds once, from double to nearest even; beyond the largest finite value comes infinity.
void store(DType dtype, void* data, int64_t index, double value) noexcept;

/// `value` after a store and a load.
double rounded(DType dtype, double value) noexcept;

}  // namespace attnrt::reference
