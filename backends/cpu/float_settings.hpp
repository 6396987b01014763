// SPDX-License-Identifier: Apache-2.0
// How this thread's float unit rounds and treats denormals: MXCSR on x86-64, FPCR on 64-bit ARM.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace attnrt::cpu {

/// While it lives, denormals are numbers and results are rounded to nearest, whatever the thread
/// was set to: its caller, or oneTBB, which hands the settings of some earlier caller to workers.
class FloatSettings {
 public:
  FloatSettings() noexcept : before_(read()) { write(kDefault); }
  ~FloatSettings() { write(before_); }
  FloatSettings(const FloatSettings&) = delete;
  FloatSettings& operator=(const FloatSettings&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr uint64_t kDefault = 0x1f80;  // MXCSR: every exception masked
  static uint64_t read() noexcept { return _mm_getcsr(); }
  static void write(uint64_t settings) noexcept { _mm_setcsr(static_cast<unsigned>(settings)); }
#elif defined(__aarch64__)
  // GCC and Clang have different intrinsics for FPCR. "memory": no store of a result moves across.
  static constexpr uint64_t kDefault = 0;
  static uint64_t read() noexcept {
    uint64_t settings;
    __asm__ volatile("mrs %0, fpcr" : "=r"(settings));
    return settings;
  }
  static void write(uint64_t settings) noexcept {
    __asm__ volatile("msr fpcr, %0" : : "r"(settings) : "memory");
  }
#else
  static constexpr uint64_t kDefault = 0;  // unknown here: as the caller set it
  static uint64_t read() noexcept { return 0; }
  static void write(uint64_t) noexcept {}
#endif

  uint64_t before_;
};

}  // namespace attnrt::cpu
