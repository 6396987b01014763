// SPDX-License-Identifier: Apache-2.0
#include "tests/support/amx_tiles.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>
#include <initializer_list>

namespace attnrt::test {
namespace {

constexpr int kMaxRows = 16;
constexpr int kMaxColsb = 64;

// MXCSR with all exceptions masked, to nearest, denormals in and out as 0. The clobbers keep the
// arithmetic, whose operands are in memory, between the making and the end of this.
class FlushDenormals {
 public:
  FlushDenormals() {
    const uint32_t flush = 0x1f80 | 0x8040;
    __asm__ volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(saved_) : "m"(flush) : "memory");
  }
  ~FlushDenormals() { __asm__ volatile("ldmxcsr %0" ::"m"(saved_) : "memory"); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  uint32_t saved_ = 0;
};

using Floats = float __attribute__((vector_size(64)));
using Words = uint32_t __attribute__((vector_size(64)));

uint32_t word(const uint8_t* p) {
  uint32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return bits;
}

// One row of C: `pairs` pairs of A against the rows of B. Elements beyond C's width come out as
// garbage and are cut off by the caller.
__attribute__((target("avx512f"), noinline)) void dot_bf16_row(const uint8_t* a, const AmxTile& b,
                                                               int pairs, uint8_t* c) {
  const FlushDenormals flush;
  Floats even{};
  Floats odd{};
  for (int k = 0; k < pairs; ++k) {
    Words line;
    std::memcpy(&line, b.row[k], sizeof line);
    const uint32_t pair = word(a + 4 * k);
    const Words low = Words{} + (pair << 16);
    const Words high = Words{} + (pair & 0xffff0000u);
    even = reinterpret_cast<Floats>(_mm512_fmadd_ps(reinterpret_cast<__m512>(low),
                                                    reinterpret_cast<__m512>(line << 16),
                                                    reinterpret_cast<__m512>(even)));
    odd = reinterpret_cast<Floats>(_mm512_fmadd_ps(reinterpret_cast<__m512>(high),
                                                   reinterpret_cast<__m512>(line & 0xffff0000u),
                                                   reinterpret_cast<__m512>(odd)));
  }
  Floats sum;
  std::memcpy(&sum, c, sizeof sum);
  sum += even + odd;
  std::memcpy(c, &sum, sizeof sum);
}

}  // namespace

AmxFault AmxTiles::load_config(const uint8_t* config) {
  if (config[0] == 0) {
    release();
    return AmxFault::kNone;
  }
  if (config[0] != 1) return AmxFault::kGeneralProtection;
  // Reserved bytes, and the shapes of tiles that palette 1 does not have.
  for (int i = 2; i < 16; ++i) {
    if (config[i] != 0) return AmxFault::kGeneralProtection;
  }
  for (int i = 32; i < 48; ++i) {
    if (config[i] != 0) return AmxFault::kGeneralProtection;
  }
  for (int i = 56; i < 64; ++i) {
    if (config[i] != 0) return AmxFault::kGeneralProtection;
  }
  uint16_t colsb[8];
  std::memcpy(colsb, config + 16, sizeof colsb);
  for (int i = 0; i < 8; ++i) {
    const int rows = config[48 + i];
    if (colsb[i] > kMaxColsb || rows > kMaxRows || (colsb[i] == 0) != (rows == 0)) {
      return AmxFault::kGeneralProtection;
    }
  }
  release();
  palette_ = 1;
  start_row_ = config[1];
  std::memcpy(colsb_, colsb, sizeof colsb_);
  std::memcpy(rows_, config + 48, sizeof rows_);
  return AmxFault::kNone;
}

void AmxTiles::store_config(uint8_t* config) const {
  std::memset(config, 0, 64);
  if (palette_ == 0) return;
  config[0] = palette_;
  config[1] = start_row_;
  std::memcpy(config + 16, colsb_, sizeof colsb_);
  std::memcpy(config + 48, rows_, sizeof rows_);
}

void AmxTiles::release() { *this = AmxTiles{}; }

AmxFault AmxTiles::zero(int tile) {
  if (rows_[tile] == 0) return AmxFault::kInvalidOpcode;
  tiles_[tile] = AmxTile{};
  start_row_ = 0;
  return AmxFault::kNone;
}

AmxFault AmxTiles::load(int tile, const uint8_t* base, int64_t stride) {
  if (rows_[tile] == 0) return AmxFault::kInvalidOpcode;
  for (int r = start_row_; r < rows_[tile]; ++r) {
    std::memcpy(tiles_[tile].row[r], base + r * stride, colsb_[tile]);
  }
  start_row_ = 0;
  return AmxFault::kNone;
}

AmxFault AmxTiles::store(int tile, uint8_t* base, int64_t stride) {
  if (rows_[tile] == 0) return AmxFault::kInvalidOpcode;
  for (int r = start_row_; r < rows_[tile]; ++r) {
    std::memcpy(base + r * stride, tiles_[tile].row[r], colsb_[tile]);
  }
  start_row_ = 0;
  return AmxFault::kNone;
}

bool AmxTiles::dot_shapes_agree(int c, int a, int b) const {
  if (c == a || c == b || a == b) return false;
  for (const int tile : {c, a, b}) {
    if (rows_[tile] == 0 || colsb_[tile] % 4 != 0) return false;
  }
  return colsb_[c] == colsb_[b] && rows_[c] == rows_[a] && colsb_[a] / 4 == rows_[b];
}

AmxFault AmxTiles::dot_bf16(int c, int a, int b) {
  if (!dot_shapes_agree(c, a, b)) return AmxFault::kInvalidOpcode;
  for (int r = 0; r < rows_[c]; ++r) {
    dot_bf16_row(tiles_[a].row[r], tiles_[b], rows_[b], tiles_[c].row[r]);
  }
  start_row_ = 0;
  return AmxFault::kNone;
}

AmxFault AmxTiles::dot_int8(int c, int a, int b, bool a_signed, bool b_signed) {
  if (!dot_shapes_agree(c, a, b)) return AmxFault::kInvalidOpcode;
  const auto value = [](uint8_t byte, bool is_signed) {
    return is_signed ? static_cast<int32_t>(static_cast<int8_t>(byte)) : int32_t{byte};
  };
  for (int r = 0; r < rows_[c]; ++r) {
    for (int n = 0; n < colsb_[c]; n += 4) {
      uint32_t sum = word(tiles_[c].row[r] + n);
      for (int k = 0; k < colsb_[a]; ++k) {
        sum += static_cast<uint32_t>(value(tiles_[a].row[r][k], a_signed) *
                                     value(tiles_[b].row[k / 4][n + k % 4], b_signed));
      }
      std::memcpy(tiles_[c].row[r] + n, &sum, sizeof sum);
    }
  }
  start_row_ = 0;
  return AmxFault::kNone;
}

}  // namespace attnrt::test

#endif
