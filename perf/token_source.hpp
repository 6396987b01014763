// SPDX-License-Identifier: Apache-2.0
// Made-up q, K and V. Every row is a function of (seed, layer, request, position), so whoever
// checks a result can make the same rows again without having kept them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "attnrt/tensor.hpp"

namespace attnrt::perf {

/// Rows are cut at random places out of one pool of standard normal values: a copy instead of an
/// evaluation per element, so that making a step's tokens costs less than attending to them.
class TokenSource {
 public:
  struct Shape {
    DType dtype = DType::kF32;
    int64_t k_elements = 0;  // of all KV heads of one token
    int64_t v_elements = 0;
    int64_t q_elements = 0;  // of the largest step
  };
  TokenSource(const Shape& shape, uint64_t seed);

  /// K or V of one token, k_elements or v_elements long.
  [[nodiscard]] const std::byte* k_row(int32_t layer, int64_t request, int64_t position) const;
  [[nodiscard]] const std::byte* v_row(int32_t layer, int64_t request, int64_t position) const;

  /// The q of a whole step, in place: at most q_elements.
  [[nodiscard]] const std::byte* q(int32_t layer, int64_t step) const;

  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }

 private:
  [[nodiscard]] const std::byte* cut(uint64_t a, uint64_t b, uint64_t c) const;

  Shape shape_;
  uint64_t seed_;
  std::vector<std::byte> pool_;
};

}  // namespace attnrt::perf
