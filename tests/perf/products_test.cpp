// SPDX-License-Identifier: Apache-2.0
// What the kernel of a call multiplies with, by the library's own rule.
#include "perf/products.hpp"

#include <doctest/doctest.h>

#include "attnrt/runtime.hpp"

namespace attnrt::perf {
namespace {

TEST_CASE("f32 where the layer, the dtype or the table say so") {
  CHECK(products_of("baseline", Arithmetic::kFastest, DType::kBF16) == Products::kF32Fma);
  CHECK(products_of("none", Arithmetic::kFastest, DType::kBF16) == Products::kF32Fma);
  for (const Capability& isa : Runtime::isas()) {
    CAPTURE(isa.name);
    CHECK(products_of(isa.name, Arithmetic::kFastest, DType::kF32) == Products::kF32Fma);
    CHECK(products_of(isa.name, Arithmetic::kFastest, DType::kF16) == Products::kF32Fma);
    CHECK(products_of(isa.name, Arithmetic::kFloat32, DType::kBF16) == Products::kF32Fma);
    const bool dot =
        isa.available && (isa.name == "avx512_bf16" || isa.name == "amx" || isa.name == "onednn");
    const Products products = products_of(isa.name, Arithmetic::kFastest, DType::kBF16);
    CHECK((products == Products::kBf16Dot) == dot);
  }
}

}  // namespace
}  // namespace attnrt::perf
