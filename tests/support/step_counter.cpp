// SPDX-License-Identifier: Apache-2.0
#include "tests/support/step_counter.hpp"

#if defined(__x86_64__) && defined(__linux__)

#include <signal.h>
#include <ucontext.h>

#include "tests/support/amx_decode.hpp"

#endif

namespace attnrt::test {

#if defined(__x86_64__) && defined(__linux__)

namespace {

StepCounts counted;
bool tiles_are_trapped = false;
struct sigaction previous;

// BMI's instructions are VEX-encoded, but work on general registers: F2, F3, F5 .. F7 of the map
// 0F38 (2), F0 of 0F3A (3).
bool is_bmi(const uint8_t* ip) {
  if (ip[0] != 0xc4) return false;
  const int map = ip[1] & 0x1f;
  return (map == 2 && ip[3] >= 0xf2 && ip[3] <= 0xf7) || (map == 3 && ip[3] == 0xf0);
}

int tile_length(const uint8_t* ip) {
  const int64_t none[16] = {};
  return decode_amx(ip, none).length;
}

// The instruction that the next step executes. One that is trapped is no step of its own: the CPU
// goes on to the one after it.
void count(const uint8_t* ip) {
  int length = tile_length(ip);
  while (length > 0) {
    ++counted.tile;
    if (!tiles_are_trapped) return;
    ip += length;
    length = tile_length(ip);
  }
  if (ip[0] == 0x62) {
    ++counted.evex;
  } else if ((ip[0] == 0xc4 || ip[0] == 0xc5) && !is_bmi(ip)) {
    ++counted.vex;
  } else {
    ++counted.scalar;
  }
}

// A breakpoint turns the steps on, and off.
void handle(int, siginfo_t* info, void* context) {
  constexpr greg_t kTrapFlag = 0x100;
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto* ip = reinterpret_cast<const uint8_t*>(registers[REG_RIP]);
  constexpr uint8_t kBreakpoint = 0xcc;
  if (info->si_code != TRAP_TRACE) registers[REG_EFL] ^= kTrapFlag;
  if ((registers[REG_EFL] & kTrapFlag) != 0 && *ip != kBreakpoint) count(ip);
}

}  // namespace

bool StepCounter::possible() { return true; }

StepCounter::StepCounter(bool trapping) {
  counted = {};
  tiles_are_trapped = trapping;
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGTRAP, &action, &previous);
}

StepCounter::~StepCounter() { sigaction(SIGTRAP, &previous, nullptr); }

void StepCounter::start() { __asm__ volatile("int3" ::: "memory"); }
void StepCounter::stop() { __asm__ volatile("int3" ::: "memory"); }
StepCounts StepCounter::counts() { return counted; }

#else

bool StepCounter::possible() { return false; }
StepCounter::StepCounter(bool) {}
StepCounter::~StepCounter() = default;
void StepCounter::start() {}
void StepCounter::stop() {}
StepCounts StepCounter::counts() { return {}; }

#endif

}  // namespace attnrt::test
