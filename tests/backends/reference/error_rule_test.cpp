// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/error_rule.hpp"

#include <doctest/doctest.h>

namespace attnrt {

TEST_SUITE("reference") {
  TEST_CASE("weights rounded to bf16 cost 2^-8 of the mean |V| and what denormals are worth") {
    const reference::Row row{{0.0}, 0.0, 0.0, 4.0, 3.0, 10};
    reference::ErrorRule rule(DType::kF32);
    rule.add(row, row);
    CHECK(rule.bound(reference::Weights::kFloat32) == rule.bound());
    CHECK(rule.bound(reference::Weights::kBFloat16) == rule.bound() + 3 * 0x1p-8);
    const reference::Row tiny{{0.0}, 0.0, 0.0, 0x1p-130, 0x1p-130, 10};
    reference::ErrorRule denormal(DType::kF32);
    denormal.add(tiny, tiny);
    CHECK(denormal.bound() < 0x1p-130 + 2 * 0x1p-24);
    CHECK(denormal.bound(reference::Weights::kBFloat16) >= denormal.bound() + 10 * 0x1p-124);
  }

  TEST_CASE("the error rule adds the naive error, the rounding of the output, and a floor") {
    const reference::Row row{{1.0, 0.5}, 0.0, 0.0, 4.0, 0.0, 0};
    const reference::Row naive{{1.0 + 0x1p-20, 0.5}, 0.0, 0.0, 4.0, 0.0, 0};
    reference::ErrorRule f32(DType::kF32);
    f32.add(row, row);
    CHECK(f32.bound() >= 4e-6);
    CHECK(f32.bound() <= 4e-6 + 2 * 0x1p-22);
    f32.add(row, naive);
    CHECK(f32.bound() >= 4e-6 + 2 * 0x1p-20);
    CHECK(f32.bound() <= 4e-6 + 2 * 0x1p-20 + 2 * 0x1p-22);
    reference::ErrorRule bf16(DType::kBF16);
    bf16.add(row, row);
    CHECK(bf16.bound() >= 2 * 0x1p-9);  // at least half a unit in the last place of 1.0
    CHECK(bf16.bound() <= 2 * 0x1p-6);
    CHECK(reference::lse_bound(row, DType::kF32, DType::kF32) == 1e-5);
    CHECK(reference::lse_bound(row, DType::kF32, DType::kBF16) == 1e-4);
    const reference::Row large{{}, -50.0, 70.0, 0.0, 0.0, 0};
    CHECK(reference::lse_bound(large, DType::kF32, DType::kF32) == doctest::Approx(70e-5));
  }
}

}  // namespace attnrt
