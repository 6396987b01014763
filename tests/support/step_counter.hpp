// SPDX-License-Identifier: Apache-2.0
// Counts the instructions that a piece of code executes, by single steps of the CPU: exact, and
// 10 to 100 us each.
#pragma once

#include <cstdint>

namespace attnrt::test {

struct StepCounts {
  int64_t evex = 0;    // AVX-512
  int64_t vex = 0;     // AVX, AVX2, FMA, and operations on mask registers
  int64_t tile = 0;    // AMX
  int64_t scalar = 0;  // all others

  [[nodiscard]] int64_t vectors() const { return evex + vex; }
  StepCounts operator-(const StepCounts& other) const {
    return {evex - other.evex, vex - other.vex, tile - other.tile, scalar - other.scalar};
  }
};

/// Between start() and stop() the calling thread, and no other, goes by single steps. One counter
/// at a time in a process. `trapping`: tile instructions are executed by an AmxTrap.
class StepCounter {
 public:
  explicit StepCounter(bool trapping);
  ~StepCounter();
  StepCounter(const StepCounter&) = delete;
  StepCounter& operator=(const StepCounter&) = delete;

  /// x86-64 Linux only.
  static bool possible();

  static void start();
  static void stop();
  /// Of all pieces so far.
  [[nodiscard]] static StepCounts counts();
};

}  // namespace attnrt::test
