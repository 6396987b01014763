// SPDX-License-Identifier: Apache-2.0
// Copies random pieces of a small table of random numbers, on all cores.
#include "perf/random_fill.hpp"

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace attnrt::perf {
namespace {

constexpr int64_t kTableElements = 65536;
constexpr int64_t kPieceElements = 64;
constexpr int64_t kElementsPerThread = int64_t{1} << 20;  // below that a thread costs more

std::vector<std::byte> make_table(DType dtype, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<std::byte> table(static_cast<size_t>(kTableElements * size_of(dtype)));
  std::byte* to = table.data();
  for (int64_t i = 0; i < kTableElements; ++i) {
    const float value = normal(generator);
    const uint16_t half = dtype == DType::kBF16 ? f32_to_bf16(value) : f32_to_f16(value);
    const auto bytes = static_cast<size_t>(size_of(dtype));
    std::memcpy(to, dtype == DType::kF32 ? static_cast<const void*>(&value) : &half, bytes);
    to += bytes;
  }
  return table;
}

// splitmix64: one multiply chain per piece, and pieces do not depend on each other.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

void random_fill(void* data, DType dtype, int64_t elements, uint64_t seed) {
  const std::vector<std::byte> table = make_table(dtype, seed);
  const int64_t pieces = (elements + kPieceElements - 1) / kPieceElements;
  const auto fill = [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t first = piece * kPieceElements;
      const int64_t count = std::min(kPieceElements, elements - first);
      const auto from = static_cast<int64_t>(mix(seed + static_cast<uint64_t>(piece)) %
                                             (kTableElements - kPieceElements));
      std::memcpy(static_cast<std::byte*>(data) + first * size_of(dtype),
                  table.data() + from * size_of(dtype),
                  static_cast<size_t>(count * size_of(dtype)));
    }
  };
  const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  const int64_t threads = std::clamp<int64_t>(elements / kElementsPerThread, 1, cores);
  std::vector<std::jthread> workers;
  for (int64_t t = 1; t < threads; ++t) {
    workers.emplace_back(fill, pieces * t / threads, pieces * (t + 1) / threads);
  }
  fill(0, pieces / threads);
}

}  // namespace attnrt::perf
