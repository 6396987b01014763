// SPDX-License-Identifier: Apache-2.0
// What the kernel of a call multiplies with, which decides the rate that bounds it.
#pragma once

#include <cstdint>
#include <string_view>

#include "attnrt/attention.hpp"

namespace attnrt::perf {

enum class Products : uint8_t {
  kF32Fma,   // operands widened to f32
  kBf16Dot,  // pairs of bf16, summed in f32
};

/// Of calls with q and K/V of this dtype on a table named as Context::isa() does: the library's own
/// rule.
Products products_of(std::string_view isa, Arithmetic arithmetic, DType dtype);

}  // namespace attnrt::perf
