// SPDX-License-Identifier: Apache-2.0
// Tile instructions, executed by the CPU or by the trap, against plain loops.
#include <doctest/doctest.h>

#if defined(__x86_64__) && defined(__linux__)

#include <cmath>
#include <thread>
#include <vector>

#include "attnrt/tensor.hpp"
#include "tests/backends/cpu/amx_case.hpp"

namespace attnrt::test {
namespace {

template <class T>
T element(const Bytes& tile, int row, int i) {
  T value;
  std::memcpy(&value, tile.at[row] + static_cast<size_t>(i) * sizeof(T), sizeof value);
  return value;
}

float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

// The definition: a chain of fused multiply-adds for even elements, one for odd ones.
float expected_bf16(const Shape& s, const Bytes& c, const Bytes& a, const Bytes& b, int m, int n) {
  float sums[2] = {0.0f, 0.0f};
  for (int k = 0; k < s.k; ++k) {
    for (int half = 0; half < 2; ++half) {
      const float x = flushed(bf16_to_f32(element<uint16_t>(a, m, 2 * k + half)));
      const float y = flushed(bf16_to_f32(element<uint16_t>(b, k, 2 * n + half)));
      sums[half] = flushed(std::fma(x, y, sums[half]));
    }
  }
  return flushed(flushed(element<float>(c, m, n)) + flushed(sums[0] + sums[1]));
}

template <class A, class B>
int64_t expected_int8(const Shape& s, const Bytes& c, const Bytes& a, const Bytes& b, int m,
                      int n) {
  int64_t sum = element<int32_t>(c, m, n);
  for (int k = 0; k < 4 * s.k; ++k) {
    sum += int64_t{element<A>(a, m, k)} * int64_t{element<B>(b, k / 4, 4 * n + k % 4)};
  }
  return sum;
}

bool same_float(float a, float b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

int wrong_bf16(const Shape& s, const Bytes& c, const Bytes& a, const Bytes& b) {
  Bytes got = c;
  run_dot(s, got, a, b, [] { cpu::tile_dot_bf16<0, 1, 2>(); });
  int wrong = 0;
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) {
      const bool inside = m < s.m && n < s.n;
      const float want = inside ? expected_bf16(s, c, a, b, m, n) : element<float>(c, m, n);
      wrong += same_float(want, element<float>(got, m, n)) ? 0 : 1;
    }
  }
  return wrong;
}

template <class A, class B, class Dot>
int wrong_int8(const Shape& s, std::mt19937& random, const Dot& dot) {
  const Bytes c = random_bytes(random);
  const Bytes a = random_bytes(random);
  const Bytes b = random_bytes(random);
  Bytes got = c;
  run_dot(s, got, a, b, dot);
  int wrong = 0;
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) {
      const bool inside = m < s.m && n < s.n;
      const int64_t want =
          inside ? expected_int8<A, B>(s, c, a, b, m, n) : int64_t{element<int32_t>(c, m, n)};
      wrong += static_cast<int32_t>(want) == element<int32_t>(got, m, n) ? 0 : 1;
    }
  }
  return wrong;
}

}  // namespace

TEST_CASE("tdpbf16ps, every shape, ordinary values and denormals") {
  if (!possible()) return;
  const AmxTrap trap;
  const AmxCounts before = trap.counts();
  std::mt19937 random(1);
  for (int i = 0; i < 40; ++i) {
    const Shape s = i == 0 ? Shape{16, 16, 16} : random_shape(random);
    const bool denormal = i % 2 == 1;
    CAPTURE(i);
    const Bytes c = random_f32(random, denormal);
    const Bytes a = random_bf16(random, denormal);
    CHECK(wrong_bf16(s, c, a, random_bf16(random, denormal)) == 0);
  }
  for (int i = 0; i < 10; ++i) {  // any bits: infinities and NaN too
    const Bytes c = random_bytes(random);
    const Bytes a = random_bytes(random);
    CHECK(wrong_bf16(random_shape(random), c, a, random_bytes(random)) == 0);
  }
  const AmxCounts counts = trap.counts() - before;
  CHECK(counts[AmxOp::kTdpbf16ps] == (trap.trapping() ? 50 : 0));
  CHECK(counts.total() == (trap.trapping() ? 7 * 50 : 0));
}

TEST_CASE("tdpbssd, tdpbsud, tdpbusd, tdpbuud, every shape") {
  if (!possible()) return;
  const AmxTrap trap;
  std::mt19937 random(2);
  for (int i = 0; i < 12; ++i) {
    CAPTURE(i);
    const Shape s = random_shape(random);
    CHECK(wrong_int8<int8_t, int8_t>(s, random, [] { cpu::tile_dot_s8s8<0, 1, 2>(); }) == 0);
    CHECK(wrong_int8<int8_t, uint8_t>(s, random, [] { cpu::tile_dot_s8u8<0, 1, 2>(); }) == 0);
    CHECK(wrong_int8<uint8_t, int8_t>(s, random, [] { cpu::tile_dot_u8s8<0, 1, 2>(); }) == 0);
    CHECK(wrong_int8<uint8_t, uint8_t>(s, random, [] { cpu::tile_dot_u8u8<0, 1, 2>(); }) == 0);
  }
}

TEST_CASE("operands in other tiles than the first three") {
  if (!possible()) return;
  const AmxTrap trap;
  std::mt19937 random(3);
  const Bytes a = random_bf16(random, false);
  const Bytes b = random_bf16(random, false);
  Bytes low = random_f32(random, false);
  Bytes high = low;
  run_dot({16, 16, 16}, low, a, b, [] { cpu::tile_dot_bf16<0, 1, 2>(); });
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.rows[tile] = 16;
    config.colsb[tile] = 64;
  }
  cpu::tile_load_config(config);
  cpu::tile_load<6>(&high, 64);
  cpu::tile_load<3>(&a, 64);
  cpu::tile_load<7>(&b, 64);
  cpu::tile_dot_bf16<6, 3, 7>();
  cpu::tile_store<6>(&high, 64);
  cpu::tile_release();
  CHECK(std::memcmp(&low, &high, sizeof low) == 0);
}

TEST_CASE("products neither look at MXCSR nor change it") {
  if (!possible()) return;
  const AmxTrap trap;
  std::mt19937 random(4);
  const Bytes c = random_f32(random, false);
  const Bytes a = random_bf16(random, false);
  const Bytes b = random_bf16(random, false);
  Bytes want = c;
  run_dot({16, 16, 16}, want, a, b, [] { cpu::tile_dot_bf16<0, 1, 2>(); });
  const uint32_t upwards = 0x1f80 | 0x4000;
  uint32_t saved = 0;
  uint32_t after = 0;
  Bytes got = c;
  __asm__ volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(saved) : "m"(upwards) : "memory");
  run_dot({16, 16, 16}, got, a, b, [] { cpu::tile_dot_bf16<0, 1, 2>(); });
  __asm__ volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(after) : "m"(saved) : "memory");
  CHECK(after == upwards);
  CHECK(std::memcmp(&want, &got, sizeof got) == 0);
}

TEST_CASE("every thread has its own tiles") {
  if (!possible()) return;
  const AmxTrap trap;
  const AmxCounts before = trap.counts();
  constexpr int kThreads = 4;
  constexpr int kRounds = 40;
  int wrong[kThreads] = {};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < kRounds; ++i) {
        const Bytes c = random_f32(random, false);
        const Bytes a = random_bf16(random, false);
        wrong[t] += wrong_bf16(random_shape(random), c, a, random_bf16(random, false));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : wrong) CHECK(count == 0);
  const AmxCounts counts = trap.counts() - before;
  CHECK(counts.total() == (trap.trapping() ? 7 * kThreads * kRounds : 0));
}

}  // namespace attnrt::test

#endif
