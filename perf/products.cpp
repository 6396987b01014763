// SPDX-License-Identifier: Apache-2.0
// What the kernel of a call multiplies with.
#include "perf/products.hpp"

#include "backends/cpu/dispatch.hpp"

namespace attnrt::perf {

Products products_of(std::string_view isa, Arithmetic arithmetic, DType dtype) {
  const cpu::KernelTable* table = nullptr;
  if (isa.empty() || !cpu::resolve_table(isa, table).ok()) return Products::kF32Fma;
  const bool dot = cpu::uses_bf16_dot(*table, arithmetic, dtype, dtype, /*rotates_q=*/false);
  return dot ? Products::kBf16Dot : Products::kF32Fma;
}

}  // namespace attnrt::perf
