// SPDX-License-Identifier: Apache-2.0
// Filled memory holds ordinary numbers to its last element.
#include "perf/random_fill.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace attnrt::perf {
namespace {

std::vector<float> fill(DType dtype, int64_t elements, uint64_t seed) {
  std::vector<std::byte> bytes(static_cast<size_t>(elements * size_of(dtype)));
  random_fill(bytes.data(), dtype, elements, seed);
  std::vector<float> values(static_cast<size_t>(elements));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half = 0;
    if (dtype == DType::kF32) {
      std::memcpy(&values[i], bytes.data() + 4 * i, 4);
    } else {
      std::memcpy(&half, bytes.data() + 2 * i, 2);
      values[i] = dtype == DType::kBF16 ? bf16_to_f32(half) : f16_to_f32(half);
    }
  }
  return values;
}

TEST_CASE("values are normal, finite and reach the end of the memory") {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    CAPTURE(to_string(dtype));
    const std::vector<float> values = fill(dtype, 100'003, 1);
    double sum = 0.0;
    double squares = 0.0;
    for (const float value : values) {
      sum += value;
      squares += double{value} * value;
    }
    const auto n = static_cast<double>(values.size());
    CHECK(std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }));
    CHECK(std::abs(sum / n) < 0.05);
    CHECK(squares / n == doctest::Approx(1.0).epsilon(0.05));
    CHECK(values.back() != 0.0f);
  }
}

TEST_CASE("one seed gives the same values, another one others") {
  const std::vector<float> values = fill(DType::kBF16, 5'000'000, 3);  // on several threads
  CHECK(fill(DType::kBF16, 5'000'000, 3) == values);
  CHECK(fill(DType::kBF16, 5'000'000, 4) != values);
}

TEST_CASE("nothing to fill") { CHECK(fill(DType::kF32, 0, 1).empty()); }

}  // namespace
}  // namespace attnrt::perf
