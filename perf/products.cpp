// SPDX-License-Identifier: Apache-2.0
// What the kernel of a call multiplies with.
#include "perf/products.hpp"

namespace attnrt::perf {

Products products_of(std::string_view isa, DType q, DType kv) {
  const bool bf16 = q == DType::kBF16 && kv == DType::kBF16;
  return bf16 && isa.ends_with("_bf16") ? Products::kBf16Dot : Products::kF32Fma;
}

}  // namespace attnrt::perf
