// SPDX-License-Identifier: Apache-2.0
#include "tests/support/simt_collective.hpp"

namespace attnrt::test {
namespace {

uint16_t half_of(uint32_t word, int part) { return static_cast<uint16_t>(word >> (16 * part)); }

}  // namespace

void simt_shuffle(ShuffleArgs* const (&lanes)[32]) {
  for (ShuffleArgs* lane : lanes) lane->result = lanes[lane->lane]->value;
}

// PTX manual, "Matrix Fragments for mma.m16n8k16": with group g = lane / 4 and t = lane % 4,
//   a[0..3]: rows g, g + 8, g, g + 8; columns 2t, 2t + 1 and, from a[2] on, 8 more
//   b[0..1]: rows 2t, 2t + 1 (and 8 more); column g
//   d[0..3]: row g columns 2t, 2t + 1; row g + 8 the same
void simt_mma(MmaArgs* const (&lanes)[32], float (*to_float)(uint16_t)) {
  float a[16][16];
  float b[16][8];
  float d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4;
    const int t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      for (int part = 0; part < 2; ++part) {
        a[g + i % 2 * 8][2 * t + part + i / 2 * 8] = to_float(half_of(lanes[lane]->a[i], part));
      }
      d[g + i / 2 * 8][2 * t + i % 2] = lanes[lane]->d[i];
    }
    for (int i = 0; i < 2; ++i) {
      for (int part = 0; part < 2; ++part) {
        b[2 * t + part + i * 8][g] = to_float(half_of(lanes[lane]->b[i], part));
      }
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      lanes[lane]->d[i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
    }
  }
}

void simt_spread_matrices(LoadMatrixArgs* const (&lanes)[32], const uint16_t (&rows)[4][8][8],
                          bool transposed) {
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4;
    const int t = lane % 4;
    for (int m = 0; m < 4; ++m) {
      const uint32_t low = transposed ? rows[m][2 * t][g] : rows[m][g][2 * t];
      const uint32_t high = transposed ? rows[m][2 * t + 1][g] : rows[m][g][2 * t + 1];
      lanes[lane]->r[m] = low | high << 16;
    }
  }
}

}  // namespace attnrt::test
