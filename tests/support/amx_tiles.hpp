// SPDX-License-Identifier: Apache-2.0
// What the AMX tile instructions do, as functions over a register file in memory (Intel SDM, volume
// 2). Where the CPU would refuse, they say how and change nothing.
#pragma once

#include <cstdint>

namespace attnrt::test {

/// What the CPU would raise: nothing, SIGILL, SIGSEGV.
enum class AmxFault : uint8_t { kNone, kInvalidOpcode, kGeneralProtection };

struct AmxTile {
  alignas(64) uint8_t row[16][64];
};

/// Eight tiles and their shapes. All zero: not configured. What lies beyond a tile's shape is 0 on
/// the CPU and arbitrary here: no instruction shows it.
class AmxTiles {
 public:
  /// 64 bytes of LDTILECFG. All tiles become 0, whatever the palette.
  AmxFault load_config(const uint8_t* config);
  /// What STTILECFG writes: 64 bytes.
  void store_config(uint8_t* config) const;
  void release();

  AmxFault zero(int tile);
  /// Rows of the tile's width, `stride` bytes apart.
  AmxFault load(int tile, const uint8_t* base, int64_t stride);
  AmxFault store(int tile, uint8_t* base, int64_t stride);

  /// C += A * B over pairs of bf16: even and odd elements of a row in one chain each of fused
  /// multiply-adds from 0, then C + (even + odd). Denormals are 0 on the way in and out, rounding
  /// is to nearest even whatever MXCSR says. Needs AVX-512F.
  AmxFault dot_bf16(int c, int a, int b);
  /// C += A * B over groups of four bytes, modulo 2^32.
  AmxFault dot_int8(int c, int a, int b, bool a_signed, bool b_signed);

 private:
  [[nodiscard]] bool dot_shapes_agree(int c, int a, int b) const;

  uint8_t palette_ = 0;
  uint8_t start_row_ = 0;
  uint8_t rows_[8] = {};
  uint16_t colsb_[8] = {};
  AmxTile tiles_[8] = {};
};

}  // namespace attnrt::test
