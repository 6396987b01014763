// SPDX-License-Identifier: Apache-2.0
// Fills the pool and cuts rows out of it.
#include "perf/token_source.hpp"

#include <algorithm>
#include <cstring>

#include "perf/random.hpp"

namespace attnrt::perf {
namespace {

// A prime, so that rows of no size repeat where the pool does. 1M values of f32 are 4 MB.
constexpr int64_t kPeriod = 1'000'003;

void store(std::byte* place, DType dtype, float value) {
  if (dtype == DType::kF32) {
    std::memcpy(place, &value, sizeof value);
    return;
  }
  const uint16_t bits = dtype == DType::kBF16 ? f32_to_bf16(value) : f32_to_f16(value);
  std::memcpy(place, &bits, sizeof bits);
}

}  // namespace

TokenSource::TokenSource(const Shape& shape, uint64_t seed) : shape_(shape), seed_(seed) {
  const int64_t longest = std::max({shape.k_elements, shape.v_elements, shape.q_elements});
  const auto element_bytes = static_cast<size_t>(size_of(shape.dtype));
  const size_t period_bytes = static_cast<size_t>(kPeriod) * element_bytes;
  pool_.resize(period_bytes + static_cast<size_t>(longest) * element_bytes);
  Random random(seed);
  for (size_t at = 0; at < period_bytes; at += element_bytes) {
    store(pool_.data() + at, shape.dtype, static_cast<float>(random.normal()));
  }
  for (size_t at = period_bytes; at < pool_.size(); at += period_bytes) {
    std::memcpy(pool_.data() + at, pool_.data(), std::min(period_bytes, pool_.size() - at));
  }
}

const std::byte* TokenSource::cut(uint64_t a, uint64_t b, uint64_t c) const {
  const uint64_t hash = mix_bits(mix_bits(mix_bits(seed_ ^ a) + b) + c);
  const auto element = static_cast<int64_t>(hash % uint64_t{kPeriod});
  return pool_.data() + element * size_of(shape_.dtype);
}

const std::byte* TokenSource::k_row(int32_t layer, int64_t request, int64_t position) const {
  return cut(uint64_t{3} * static_cast<uint64_t>(layer), static_cast<uint64_t>(request),
             static_cast<uint64_t>(position));
}

const std::byte* TokenSource::v_row(int32_t layer, int64_t request, int64_t position) const {
  return cut(uint64_t{3} * static_cast<uint64_t>(layer) + 1, static_cast<uint64_t>(request),
             static_cast<uint64_t>(position));
}

const std::byte* TokenSource::q(int32_t layer, int64_t step) const {
  return cut(uint64_t{3} * static_cast<uint64_t>(layer) + 2, static_cast<uint64_t>(step), 0);
}

}  // namespace attnrt::perf
