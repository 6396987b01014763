// SPDX-License-Identifier: Apache-2.0
// What the AMX kernels cost, in instructions: tile instructions as the trap counts them, all others
// by single steps. From these the time on a core with AMX is predicted; it is not measured, and
// what is checked are the counts.
#include <doctest/doctest.h>

#if defined(__x86_64__) && defined(__linux__)

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "backends/cpu/kernels/kernel_table.hpp"
#include "tests/support/amx_call.hpp"
#include "tests/support/amx_trap.hpp"
#include "tests/support/build.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/step_counter.hpp"

namespace attnrt::test {
namespace {

void stepped_kernel(const cpu::AttendTask& task) {
  StepCounter::start();
  cpu::kAmxKernels.attend_bf16_dot(task);
  StepCounter::stop();
}

struct Counts {
  AmxCounts tiles;
  StepCounts steps;
};

Counts counts_of(const AmxTrap& trap, const ProblemShape& shape) {
  const Problem problem(shape);
  Output output = problem.make_output();
  const AmxCounts before = trap.counts();
  const StepCounter counter(trap.trapping());
  REQUIRE(run_table(amx_table(stepped_kernel), problem, output) == "ok");
  return {trap.counts() - before, StepCounter::counts()};
}

struct Shape {
  const char* name;
  int32_t q_len, group, dim;
  bool always;  // other shapes only where ATTNRT_TEST_ALL_COSTS is set: 20 s
};

// Per score (row x key): what a block of keys adds, so neither q nor the end of the item counts.
struct Cost {
  double products, loads, stores, vectors, others;

  // Cycles of one core of Sapphire or Emerald Rapids with all data in L1: a product 16 (Intel's
  // tables), a load 8 and a store 16 (two lines read and one written a cycle), vectors two a cycle.
  [[nodiscard]] double tiles() const { return std::max({16 * products, 8 * loads, 16 * stores}); }
  // If all overlaps perfectly; if everything takes its turn, others four a cycle.
  [[nodiscard]] double at_best() const {
    return std::max({tiles(), vectors / 2, (vectors + others) / 4});
  }
  [[nodiscard]] double in_turns() const { return tiles() + vectors / 2 + others / 4; }
};

Cost cost_of(const AmxTrap& trap, const Shape& s) {
  ProblemShape shape;
  shape.spec.num_heads_kv = 1;
  shape.spec.num_heads_q = s.group;
  shape.spec.head_dim = s.dim;
  shape.q_dtype = shape.kv_dtype = DType::kBF16;
  shape.layout = KvLayout::kPacked16;
  shape.page_size = 64;
  shape.sequences = {{.q_len = s.q_len, .kv_len = cpu::kBlockKeys}};
  const Counts one = counts_of(trap, shape);
  shape.sequences[0].kv_len = 2 * cpu::kBlockKeys;
  const Counts two = counts_of(trap, shape);
  const AmxCounts tiles = two.tiles - one.tiles;
  const StepCounts steps = two.steps - one.steps;
  CHECK(two.steps.tile == two.tiles.total());
  const double scores = s.q_len * s.group * cpu::kBlockKeys;
  return {static_cast<double>(tiles[AmxOp::kTdpbf16ps]) / scores,
          static_cast<double>(tiles[AmxOp::kTileloadd]) / scores,
          static_cast<double>(tiles[AmxOp::kTilestored]) / scores,
          static_cast<double>(steps.vectors()) / scores,
          static_cast<double>(steps.scalar) / scores};
}

std::string fixed(double value) {
  std::string text = std::to_string(value);
  return text.substr(0, text.find('.') + 4);
}

}  // namespace

TEST_CASE("single steps count what is executed, trapped instructions too") {
  if (!amx_possible()) return;
  if (kSlowBuild) return skip("a sanitizer adds steps of its own to calls of stop()");
  const AmxTrap trap;
  const StepCounter counter(trap.trapping());
  StepCounter::start();
  __asm__ volatile(
      "vpxord %%zmm16, %%zmm16, %%zmm16\n\ttilerelease\n\ttilerelease\n\t"
      "vpaddd %%zmm16, %%zmm16, %%zmm17\n\tvpxor %%xmm1, %%xmm1, %%xmm1\n\ttilerelease\n\t"
      "shlx %%rax, %%rax, %%rax\n\tmov $5, %%ecx\n\t0: dec %%ecx\n\tjnz 0b" ::
          : "rax", "rcx", "xmm1", "cc");
  StepCounter::stop();
  const StepCounts counts = StepCounter::counts();
  CHECK(counts.evex == 2);
  CHECK(counts.vex == 1);
  CHECK(counts.tile == 3);
  CHECK(counts.scalar >= 12);  // and what calls stop()
  CHECK(counts.scalar <= 18);
}

TEST_CASE("instructions for each score, and the time predicted from them") {
  if (!amx_possible()) return;
  const AmxTrap trap;
  if (!trap.trapping()) return skip("this CPU has AMX: tile instructions are not counted");
  if (kSlowBuild) return skip("a sanitizer adds instructions of its own");
  constexpr Shape kShapes[] = {{"decode, group 4, D 128", 1, 4, 128, false},
                               {"decode, group 8, D 128", 1, 8, 128, true},
                               {"decode, group 16, D 128", 1, 16, 128, false},
                               {"decode, group 32, D 128", 1, 32, 128, false},
                               {"prefill, 32 rows, D 128", 8, 4, 128, false},
                               {"prefill, 32 rows, D 64", 8, 4, 64, true}};
  std::string table =
      "\n| per score | products | loads | stores | vectors | others | cycles: tiles | vectors | KV "
      "bytes a cycle | of the products' peak |\n|---|---|---|---|---|---|---|---|---|---|\n";
  for (const Shape& s : kShapes) {
    if (!s.always && std::getenv("ATTNRT_TEST_ALL_COSTS") == nullptr) continue;
    const Cost cost = cost_of(trap, s);
    const double rows = s.q_len * s.group;
    const double bytes = 4.0 * s.dim / rows;
    const double peak = 2.0 * s.dim / 512;
    const auto range = [&](double of, double percent) {
      return fixed(percent * of / cost.in_turns()) + " to " + fixed(percent * of / cost.at_best());
    };
    table += std::string("| ") + s.name;
    for (const double x : {cost.products, cost.loads, cost.stores, cost.vectors, cost.others,
                           cost.tiles(), cost.vectors / 2}) {
      table += " | " + fixed(x);
    }
    table += " | " + range(bytes, 1) + " | " + range(peak, 100) + " % |\n";
    CAPTURE(std::string(s.name));
    const double row_tiles = static_cast<double>((s.q_len * s.group + 15) / 16);
    CHECK(cost.products == doctest::Approx(row_tiles * s.dim / rows / 256));
    CHECK(cost.vectors < 4.0);
  }
  MESSAGE(table);
}

}  // namespace attnrt::test

#endif
