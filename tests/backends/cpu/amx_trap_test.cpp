// SPDX-License-Identifier: Apache-2.0
// How the trap decodes, refuses and behaves as a handler. What it refuses is tried in a child
// process, which must end as it would on a CPU with AMX.
#include "tests/support/amx_trap.hpp"

#include <doctest/doctest.h>

#if defined(__x86_64__) && defined(__linux__)

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "tests/backends/cpu/amx_case.hpp"

namespace attnrt::test {
namespace {

// How a child process that does `what` ends: its signal, or 1000 + its exit code.
template <class What>
int end_of(const What& what) {
  const pid_t child = fork();
  if (child == 0) {
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    signal(SIGSEGV, SIG_DFL);  // not a sanitizer's
    what();
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return -1;
  return WIFSIGNALED(status) ? WTERMSIG(status) : 1000 + WEXITSTATUS(status);
}

constexpr int kEndedWell = 1000;

int end_with_config(const TileConfig& config) {
  return end_of([&] { cpu::tile_load_config(config); });
}

}  // namespace

TEST_CASE("memory operands: displacements, high registers, scales, strides of all signs") {
  if (!possible()) return;
  const AmxTrap trap;
  std::vector<uint8_t> memory(4096);
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<uint8_t>(i * 7 + i / 256);
  const uint8_t* base = memory.data() + 2048;
  const auto check = [&](const uint8_t* from, int64_t stride) {
    Bytes got{};
    cpu::tile_store<0>(&got, 64);
    for (int r = 0; r < 3; ++r) CHECK(std::memcmp(got.at[r], from + r * stride, 20) == 0);
    CHECK(got.at[0][20] == 0);
    CHECK(got.at[3][0] == 0);
  };
  cpu::tile_load_config(config_of({3, 5, 5}));
  cpu::tile_load<0>(base, 100);
  check(base, 100);
  cpu::tile_load<0>(base, -96);
  check(base, -96);
  __asm__ volatile("tileloadd 17(%0,%1,4), %%tmm0" ::"r"(base), "r"(int64_t{25}) : "memory");
  check(base + 17, 100);
  __asm__ volatile("tileloadd -1000(%0,%1,2), %%tmm0" ::"r"(base), "r"(int64_t{-24}) : "memory");
  check(base - 1000, -48);
  __asm__ volatile(
      "mov %0, %%r13\n\tmov %1, %%r12\n\ttileloadd (%%r13,%%r12,8), %%tmm0" ::"r"(base),
      "r"(int64_t{8})
      : "memory", "r12", "r13");
  check(base, 64);
  __asm__ volatile("tileloadd 64(%0), %%tmm0" ::"r"(base) : "memory");  // no index: stride 0
  check(base + 64, 0);
  cpu::tile_release();
}

TEST_CASE("configurations at scaled, displaced and instruction-relative addresses") {
  if (!possible()) return;
  const AmxTrap trap;
  static const TileConfig fixed = config_of({7, 6, 5});
  const TileConfig local = config_of({4, 3, 2});
  const auto check = [](const TileConfig& want) {
    TileConfig got;
    cpu::tile_store_config(got);
    CHECK(std::memcmp(&want, &got, sizeof got) == 0);
  };
  cpu::tile_load_config(fixed);
  check(fixed);
  const auto quarter = reinterpret_cast<uintptr_t>(&local) / 4;
  __asm__ volatile("ldtilecfg (,%0,4)" ::"r"(quarter) : "memory");
  check(local);
  __asm__ volatile("ldtilecfg -64(%0)" ::"r"(reinterpret_cast<uintptr_t>(&fixed) + 64) : "memory");
  check(fixed);
  __asm__ volatile("ldtilecfg 6400(%0)" ::"r"(reinterpret_cast<uintptr_t>(&local) - 6400)
                   : "memory");
  check(local);
  __asm__ volatile("mov %0, %%r8\n\tldtilecfg (%%r8)" ::"r"(&fixed) : "memory", "r8");
  check(fixed);
  cpu::tile_release();
}

TEST_CASE("a configuration reads back, tiles start as 0, release takes both away") {
  if (!possible()) return;
  const AmxTrap trap;
  TileConfig config = config_of({3, 5, 9});
  config.start_row = 2;
  cpu::tile_load_config(config);
  TileConfig back;
  cpu::tile_store_config(back);
  CHECK(std::memcmp(&config, &back, sizeof config) == 0);

  Bytes ones;
  std::memset(&ones, 1, sizeof ones);
  cpu::tile_load<0>(&ones, 64);  // from row 2 on, once
  Bytes got{};
  cpu::tile_store<0>(&got, 64);
  CHECK(got.at[1][0] == 0);
  CHECK(got.at[2][0] == 1);
  cpu::tile_load<0>(&ones, 64);
  cpu::tile_store<0>(&got, 64);
  CHECK(got.at[0][0] == 1);
  cpu::tile_zero<0>();
  cpu::tile_store<0>(&got, 64);
  CHECK(got.at[2][19] == 0);
  CHECK(got.at[2][20] == 0);

  cpu::tile_release();
  cpu::tile_store_config(back);
  const Bytes none{};
  CHECK(std::memcmp(&back, &none, sizeof back) == 0);
}

TEST_CASE("bad configurations are refused as by the CPU") {
  if (!possible()) return;
  const AmxTrap trap;
  const TileConfig good = config_of({16, 16, 16});
  CHECK(end_with_config(good) == kEndedWell);
  const auto with = [&](auto change) {
    TileConfig config = good;
    change(config);
    return end_with_config(config);
  };
  CHECK(with([](TileConfig& c) { c.palette = 2; }) == SIGSEGV);
  CHECK(with([](TileConfig& c) { c.rows[0] = 17; }) == SIGSEGV);
  CHECK(with([](TileConfig& c) { c.colsb[1] = 65; }) == SIGSEGV);
  CHECK(with([](TileConfig& c) { c.rows[2] = 0; }) == SIGSEGV);
  CHECK(with([](TileConfig& c) { c.colsb[2] = 0; }) == SIGSEGV);
  CHECK(with([](TileConfig& c) { c.reserved[3] = 1; }) == SIGSEGV);
  CHECK(with([](TileConfig& c) { c.rows[8] = 1; }) == SIGSEGV);
  CHECK(with([](TileConfig& c) { c.colsb[15] = 4; }) == SIGSEGV);
}

TEST_CASE("unconfigured tiles and shapes that disagree are refused as by the CPU") {
  if (!possible()) return;
  const AmxTrap trap;
  const auto with = [](auto change) {
    return end_of([&] {
      TileConfig config = config_of({16, 16, 16});
      change(config);
      cpu::tile_load_config(config);
      cpu::tile_dot_bf16<0, 1, 2>();
    });
  };
  CHECK(with([](TileConfig&) {}) == kEndedWell);
  CHECK(with([](TileConfig& c) { c.colsb[0] = 60; }) == SIGILL);
  CHECK(with([](TileConfig& c) { c.rows[0] = 15; }) == SIGILL);
  CHECK(with([](TileConfig& c) { c.rows[2] = 8; }) == SIGILL);
  CHECK(with([](TileConfig& c) { c.colsb[1] = 62; }) == SIGILL);
  CHECK(with([](TileConfig& c) { c.rows[1] = 0, c.colsb[1] = 0; }) == SIGILL);
  CHECK(end_of([] { cpu::tile_zero<0>(); }) == SIGILL);
  CHECK(end_of([] {
          Bytes bytes{};
          cpu::tile_load<5>(&bytes, 64);
        }) == SIGILL);
  CHECK(end_of([] {
          cpu::tile_load_config(config_of({16, 16, 16}));
          // tdpbf16ps tmm0, tmm1, tmm1, which no assembler takes.
          __asm__ volatile(".byte 0xc4, 0xe2, 0x72, 0x5c, 0xc1");
        }) == SIGILL);
}

TEST_CASE("other illegal instructions go to who had the signal before, then and afterwards") {
  if (!possible()) return;
  const auto illegal = [] { __asm__ volatile("ud2"); };
  const auto exit_seven = [](int) { _exit(7); };
  const auto with_handler = [&](auto what) {
    return end_of([&] {
      signal(SIGILL, exit_seven);
      what();
    });
  };
  CHECK(end_of([&] {
          signal(SIGILL, SIG_DFL);
          const AmxTrap trap;
          illegal();
        }) == SIGILL);
  CHECK(with_handler([&] {
          const AmxTrap trap;
          const AmxTrap nested;
          illegal();
        }) == 1007);
  CHECK(with_handler([&] {
          { const AmxTrap trap; }
          illegal();
        }) == 1007);
  if (!AmxTrap().trapping()) return;
  CHECK(with_handler([] { cpu::tile_release(); }) == 1007);
  CHECK(with_handler([] {
          const AmxTrap trap;
          { const AmxTrap nested; }
          cpu::tile_release();
        }) == kEndedWell);
}

}  // namespace attnrt::test

#endif
