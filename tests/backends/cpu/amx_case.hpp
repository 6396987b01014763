// SPDX-License-Identifier: Apache-2.0
// Operands for tests of the tile instructions.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <random>

#include "backends/cpu/kernels/amx_instructions.hpp"
#include "tests/support/amx_trap.hpp"

namespace attnrt::test {

using cpu::TileConfig;

struct Bytes {
  alignas(64) uint8_t at[16][64];
};

// C of m x n 32-bit elements, A of m x k pairs or quads, B of k lines of n.
struct Shape {
  int m, n, k;
};

inline TileConfig config_of(const Shape& s) {
  TileConfig config;
  const auto set = [&](int tile, int rows, int columns) {
    config.rows[tile] = static_cast<uint8_t>(rows);
    config.colsb[tile] = static_cast<uint16_t>(4 * columns);
  };
  set(0, s.m, s.n);
  set(1, s.m, s.k);
  set(2, s.k, s.n);
  return config;
}

inline Bytes random_bytes(std::mt19937& random) {
  Bytes tile;
  for (auto& row : tile.at) {
    for (uint8_t& byte : row) byte = static_cast<uint8_t>(random());
  }
  return tile;
}

// bf16 of ordinary size; with `denormal`, factors whose product is one, or that are ones.
inline Bytes random_bf16(std::mt19937& random, bool denormal) {
  Bytes tile = random_bytes(random);
  for (auto& row : tile.at) {
    for (int i = 0; i < 32; ++i) {
      uint16_t x;
      std::memcpy(&x, row + 2 * i, sizeof x);
      unsigned long exponent = 120 + random() % 12;
      if (denormal) exponent = random() % 4 == 0 ? 0 : 55 + random() % 20;
      x = static_cast<uint16_t>((x & 0x807fu) | exponent << 7);
      std::memcpy(row + 2 * i, &x, sizeof x);
    }
  }
  return tile;
}

inline Bytes random_f32(std::mt19937& random, bool denormal) {
  Bytes tile = random_bytes(random);
  for (auto& row : tile.at) {
    for (int i = 0; i < 16; ++i) {
      uint32_t x;
      std::memcpy(&x, row + 4 * i, sizeof x);
      const auto exponent = static_cast<uint32_t>(denormal ? random() % 3 : 118 + random() % 12);
      x = (x & 0x807fffffu) | exponent << 23;
      std::memcpy(row + 4 * i, &x, sizeof x);
    }
  }
  return tile;
}

inline Shape random_shape(std::mt19937& random) {
  const auto up_to_16 = [&] { return 1 + static_cast<int>(random() % 16); };
  return {up_to_16(), up_to_16(), up_to_16()};
}

// c = c + a * b by one instruction.
template <class Dot>
void run_dot(const Shape& s, Bytes& c, const Bytes& a, const Bytes& b, const Dot& dot) {
  cpu::tile_load_config(config_of(s));
  cpu::tile_load<0>(&c, 64);
  cpu::tile_load<1>(&a, 64);
  cpu::tile_load_once<2>(&b, 64);
  dot();
  cpu::tile_store<0>(&c, 64);
  cpu::tile_release();
}

inline bool possible() {
  if (AmxTrap::possible()) return true;
  MESSAGE("skipped: neither AMX nor AVX-512F here");
  return false;
}

}  // namespace attnrt::test
