// SPDX-License-Identifier: Apache-2.0
#include "tests/support/amx_trap.hpp"

#include <numeric>

#if defined(__x86_64__) && defined(__linux__)

#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "backends/cpu/cpu_features.hpp"
#include "tests/support/amx_tiles.hpp"

#endif

namespace attnrt::test {

int64_t AmxCounts::total() const { return std::accumulate(of.begin(), of.end(), int64_t{0}); }

AmxCounts AmxCounts::operator-(const AmxCounts& earlier) const {
  AmxCounts difference;
  for (size_t i = 0; i < of.size(); ++i) difference.of[i] = of[i] - earlier.of[i];
  return difference;
}

#if defined(__x86_64__) && defined(__linux__)

namespace {

// A register file is never allocated inside the handler: initial-exec storage exists with the
// thread.
thread_local __attribute__((tls_model("initial-exec"))) constinit AmxTiles thread_tiles{};

std::array<std::atomic<int64_t>, kAmxOpCount> executed{};

std::mutex install_mutex;
int installed = 0;
struct sigaction previous;

bool cpu_has_amx() { return (cpu::cpu_features() & cpu::kFeatureAmxTile) != 0; }

AmxFault execute(const AmxInstruction& instruction, AmxTiles& tiles) {
  const int tile = instruction.tile;
  const int a = instruction.a;
  const int b = instruction.b;
  auto* at = reinterpret_cast<uint8_t*>(instruction.address);
  switch (instruction.op) {
    case AmxOp::kLdtilecfg:
      return tiles.load_config(at);
    case AmxOp::kSttilecfg:
      tiles.store_config(at);
      return AmxFault::kNone;
    case AmxOp::kTilerelease:
      tiles.release();
      return AmxFault::kNone;
    case AmxOp::kTilezero:
      return tiles.zero(tile);
    case AmxOp::kTileloadd:
    case AmxOp::kTileloaddt1:
      return tiles.load(tile, at, instruction.stride);
    case AmxOp::kTilestored:
      return tiles.store(tile, at, instruction.stride);
    case AmxOp::kTdpbf16ps:
      return tiles.dot_bf16(tile, a, b);
    case AmxOp::kTdpbssd:
      return tiles.dot_int8(tile, a, b, true, true);
    case AmxOp::kTdpbsud:
      return tiles.dot_int8(tile, a, b, true, false);
    case AmxOp::kTdpbusd:
      return tiles.dot_int8(tile, a, b, false, true);
    case AmxOp::kTdpbuud:
      return tiles.dot_int8(tile, a, b, false, false);
  }
  return AmxFault::kInvalidOpcode;
}

// By write alone: nothing else is allowed in a handler.
void say_refused(const AmxInstruction& instruction, AmxFault fault) {
  const auto say = [](const char* text) {
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
  };
  say("amx_trap: ");
  say(to_string(instruction.op));
  say(fault == AmxFault::kInvalidOpcode ? ": tiles are not configured, or their shapes disagree\n"
                                        : ": invalid configuration\n");
}

// The process ends as the CPU would end it.
void refuse(const AmxInstruction& instruction, AmxFault fault) {
  say_refused(instruction, fault);
  if (fault == AmxFault::kInvalidOpcode) {
    signal(SIGILL, SIG_DFL);  // and the instruction is executed again
    return;
  }
  signal(SIGSEGV, SIG_DFL);
  raise(SIGSEGV);
}

void pass_on(int number, siginfo_t* info, void* context) {
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(number, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(number);
  } else {
    signal(SIGILL, SIG_DFL);
  }
}

void handle(int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  constexpr int kOrder[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                              REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                              REG_R12, REG_R13, REG_R14, REG_R15};
  int64_t general[16];
  for (int i = 0; i < 16; ++i) general[i] = registers[kOrder[i]];
  const AmxInstruction instruction =
      decode_amx(reinterpret_cast<const uint8_t*>(registers[REG_RIP]), general);
  if (instruction.length == 0) {
    pass_on(number, info, context);
  } else {
    const AmxFault fault = execute(instruction, thread_tiles);
    if (fault == AmxFault::kNone) {
      executed[static_cast<size_t>(instruction.op)].fetch_add(1, std::memory_order_relaxed);
      registers[REG_RIP] += instruction.length;
    } else {
      refuse(instruction, fault);
    }
  }
  errno = saved_errno;
}

}  // namespace

bool AmxTrap::possible() {
  return cpu_has_amx() || (cpu::cpu_features() & cpu::kFeatureAvx512f) != 0;
}

AmxTrap::AmxTrap() : trapping_(!cpu_has_amx()) {
  if (!trapping_) return;
  const std::lock_guard<std::mutex> lock(install_mutex);
  if (installed++ > 0) return;
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGILL, &action, &previous);
}

AmxTrap::~AmxTrap() {
  if (!trapping_) return;
  const std::lock_guard<std::mutex> lock(install_mutex);
  if (--installed == 0) sigaction(SIGILL, &previous, nullptr);
}

AmxCounts AmxTrap::counts() const {
  AmxCounts counts;
  for (size_t i = 0; i < executed.size(); ++i) {
    counts.of[i] = executed[i].load(std::memory_order_relaxed);
  }
  return counts;
}

#else

bool AmxTrap::possible() { return false; }
AmxTrap::AmxTrap() : trapping_(false) {}
AmxTrap::~AmxTrap() = default;
AmxCounts AmxTrap::counts() const { return {}; }

#endif

}  // namespace attnrt::test
