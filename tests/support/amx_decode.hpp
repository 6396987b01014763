// SPDX-License-Identifier: Apache-2.0
// Telling tile instructions from others, byte by byte.
#pragma once

#include <cstdint>

namespace attnrt::test {

enum class AmxOp : uint8_t {
  kLdtilecfg,
  kSttilecfg,
  kTilerelease,
  kTilezero,
  kTileloadd,
  kTileloaddt1,
  kTilestored,
  kTdpbf16ps,
  kTdpbssd,
  kTdpbsud,
  kTdpbusd,
  kTdpbuud,
};
inline constexpr int kAmxOpCount = 12;

/// The Intel mnemonic, lower case.
const char* to_string(AmxOp op);

struct AmxInstruction {
  int length;  // 0: not a tile instruction, or one that no CPU would run
  AmxOp op;
  int tile;                 // the only or first operand
  int a, b;                 // second and third operand of a product
  int64_t address, stride;  // of the memory operand
};

/// The instruction at `ip`. `registers`: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 .. r15.
/// Reads no byte beyond the instruction.
AmxInstruction decode_amx(const uint8_t* ip, const int64_t registers[16]);

}  // namespace attnrt::test
