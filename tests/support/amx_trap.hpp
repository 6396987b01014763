// SPDX-License-Identifier: Apache-2.0
// Runs compiled AMX code on a CPU without AMX: each tile instruction is an illegal one there, and
// the handler of SIGILL executes it. What is tested is the machine code that ships.
//
// Cost: 11 us for a trap, on a slow virtual machine 90; the products add a microsecond.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tests/support/amx_decode.hpp"

namespace attnrt::test {

/// How often each instruction was executed in place of the CPU, on all threads.
struct AmxCounts {
  std::array<int64_t, kAmxOpCount> of{};

  int64_t operator[](AmxOp op) const { return of[static_cast<size_t>(op)]; }
  [[nodiscard]] int64_t total() const;
  AmxCounts operator-(const AmxCounts& earlier) const;
};

/// While one lives, tile instructions work on every thread; each thread has its own tiles. Where
/// the CPU has AMX and the operating system lets us use it, the CPU executes them and nothing is
/// counted. May be nested; must not be copied.
class AmxTrap {
 public:
  /// Whether this machine can run AMX code at all: by itself, or here, which takes Linux on x86-64
  /// and, for the arithmetic, AVX-512F.
  static bool possible();

  /// Precondition: possible().
  AmxTrap();
  ~AmxTrap();
  AmxTrap(const AmxTrap&) = delete;
  AmxTrap& operator=(const AmxTrap&) = delete;

  /// False where the CPU executes them itself.
  [[nodiscard]] bool trapping() const { return trapping_; }
  /// Since the first trap of the process.
  [[nodiscard]] AmxCounts counts() const;

 private:
  bool trapping_;
};

}  // namespace attnrt::test
