// SPDX-License-Identifier: Apache-2.0
#include "tests/support/amx_decode.hpp"

#include <cstring>

namespace attnrt::test {
namespace {

// The three-byte VEX prefix, opcode and ModRM of a tile instruction (map 0F38, W0, 128 bits).
struct Vex {
  bool r, x, b;  // extend ModRM.reg, SIB.index, ModRM.rm or SIB.base
  int vvvv, pp;
  int opcode;
  int mod, reg, rm;
};

constexpr int kNoPrefix = 0;
constexpr int k66 = 1;
constexpr int kF3 = 2;
constexpr int kF2 = 3;

bool read_vex(const uint8_t* ip, Vex& vex) {
  if (ip[0] != 0xc4) return false;
  constexpr int kMap0F38 = 2;
  if ((ip[1] & 0x1f) != kMap0F38 || (ip[2] & 0x84) != 0) return false;
  vex.r = (ip[1] & 0x80) == 0;
  vex.x = (ip[1] & 0x40) == 0;
  vex.b = (ip[1] & 0x20) == 0;
  vex.vvvv = (~ip[2] >> 3) & 15;
  vex.pp = ip[2] & 3;
  vex.opcode = ip[3];
  vex.mod = ip[4] >> 6;
  vex.reg = (ip[4] >> 3) & 7;
  vex.rm = ip[4] & 7;
  return vex.opcode == 0x49 || vex.opcode == 0x4b || vex.opcode == 0x5c || vex.opcode == 0x5e;
}

int64_t read_disp32(const uint8_t* ip) {
  int32_t disp;
  std::memcpy(&disp, ip, sizeof disp);
  return disp;
}

struct Memory {
  int length;
  bool sib;
  int64_t base, index;
};

Memory read_memory(const uint8_t* ip, const Vex& vex, const int64_t* registers) {
  constexpr int kUpToModRm = 5;
  Memory memory{kUpToModRm, vex.rm == 4, 0, 0};
  const int high = vex.b ? 8 : 0;
  bool from_next_instruction = false;
  bool disp32_alone = false;
  if (memory.sib) {
    const uint8_t sib = ip[memory.length++];
    const int index = ((sib >> 3) & 7) | (vex.x ? 8 : 0);
    constexpr int kNone = 4;
    if (index != kNone) {
      memory.index = static_cast<int64_t>(static_cast<uint64_t>(registers[index]) << (sib >> 6));
    }
    disp32_alone = (sib & 7) == 5 && vex.mod == 0;
    if (!disp32_alone) memory.base = registers[(sib & 7) | high];
  } else if (vex.rm == 5 && vex.mod == 0) {
    disp32_alone = from_next_instruction = true;
  } else {
    memory.base = registers[vex.rm | high];
  }
  if (vex.mod == 1) {
    memory.base += static_cast<int8_t>(ip[memory.length++]);
  } else if (vex.mod == 2 || disp32_alone) {
    memory.base += read_disp32(ip + memory.length);
    memory.length += 4;
  }
  if (from_next_instruction) memory.base += reinterpret_cast<int64_t>(ip) + memory.length;
  return memory;
}

constexpr AmxInstruction kNotOne{};

AmxInstruction register_form(const Vex& vex) {
  constexpr int kLength = 5;
  if (vex.opcode == 0x49) {
    if (vex.vvvv != 0 || vex.rm != 0) return kNotOne;
    if (vex.pp == kNoPrefix && vex.reg == 0) return {kLength, AmxOp::kTilerelease, 0, 0, 0, 0, 0};
    if (vex.pp == kF2 && !vex.r) return {kLength, AmxOp::kTilezero, vex.reg, 0, 0, 0, 0};
    return kNotOne;
  }
  if (vex.r || vex.b || vex.vvvv > 7) return kNotOne;
  AmxOp op = AmxOp::kTdpbf16ps;
  if (vex.opcode == 0x5c) {
    if (vex.pp != kF3) return kNotOne;
  } else if (vex.opcode == 0x5e) {
    constexpr AmxOp kByPrefix[4] = {AmxOp::kTdpbuud, AmxOp::kTdpbusd, AmxOp::kTdpbsud,
                                    AmxOp::kTdpbssd};
    op = kByPrefix[vex.pp];
  } else {
    return kNotOne;
  }
  return {kLength, op, vex.reg, vex.rm, vex.vvvv, 0, 0};
}

}  // namespace

const char* to_string(AmxOp op) {
  constexpr const char* kNames[kAmxOpCount] = {
      "ldtilecfg",  "sttilecfg", "tilerelease", "tilezero", "tileloadd", "tileloaddt1",
      "tilestored", "tdpbf16ps", "tdpbssd",     "tdpbsud",  "tdpbusd",   "tdpbuud"};
  return kNames[static_cast<int>(op)];
}

AmxInstruction decode_amx(const uint8_t* ip, const int64_t registers[16]) {
  Vex vex{};
  if (!read_vex(ip, vex)) return kNotOne;
  if (vex.mod == 3) return register_form(vex);
  if (vex.vvvv != 0) return kNotOne;
  if (vex.opcode == 0x49) {
    if (vex.reg != 0 || (vex.pp != kNoPrefix && vex.pp != k66)) return kNotOne;
    const Memory memory = read_memory(ip, vex, registers);
    const AmxOp op = vex.pp == kNoPrefix ? AmxOp::kLdtilecfg : AmxOp::kSttilecfg;
    return {memory.length, op, 0, 0, 0, memory.base + memory.index, 0};
  }
  // Loads and stores name their stride in the SIB byte's index.
  if (vex.opcode != 0x4b || vex.pp == kNoPrefix || vex.rm != 4 || vex.r) return kNotOne;
  const Memory memory = read_memory(ip, vex, registers);
  const AmxOp op = vex.pp == kF2   ? AmxOp::kTileloadd
                   : vex.pp == k66 ? AmxOp::kTileloaddt1
                                   : AmxOp::kTilestored;
  return {memory.length, op, vex.reg, 0, 0, memory.base, memory.index};
}

}  // namespace attnrt::test
