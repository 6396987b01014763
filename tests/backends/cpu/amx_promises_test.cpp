// SPDX-License-Identifier: Apache-2.0
// What the AMX kernels promise beside numbers: equal bits, the thread's state, and no more tile
// instructions than the products need.
#include <doctest/doctest.h>

#if defined(__x86_64__)

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "backends/cpu/kernels/amx_instructions.hpp"
#include "tests/support/amx_call.hpp"
#include "tests/support/amx_trap.hpp"
#include "tests/support/check.hpp"

namespace attnrt::test {
namespace {

ProblemShape prefill(int32_t q_len, int32_t kv_len) {
  ProblemShape shape;
  shape.spec.num_heads_kv = 1;
  shape.spec.num_heads_q = 3;
  shape.spec.head_dim = 48;
  shape.spec.causal = true;
  shape.q_dtype = shape.kv_dtype = DType::kBF16;
  shape.layout = KvLayout::kPacked16;
  shape.page_size = 64;
  shape.sequences = {{.q_len = q_len, .kv_len = kv_len}};
  return shape;
}

Output run_shape(const ProblemShape& shape, int32_t num_threads = 1) {
  const Problem problem(shape);
  Output output = problem.make_output();
  REQUIRE(run_table(amx_table(), problem, output, num_threads) == "ok");
  return output;
}

AmxCounts counts_of(const AmxTrap& trap, const ProblemShape& shape) {
  const AmxCounts before = trap.counts();
  run_shape(shape);
  return trap.counts() - before;
}

TEST_CASE("the same bits on pages of any size, in any layout, on any number of threads") {
  if (!amx_possible()) return;
  const AmxTrap trap;
  const ProblemShape shape = prefill(37, 570);
  const Output want = run_shape(shape);
  for (const int32_t page_size : {16, 32, 48, 80}) {
    CAPTURE(page_size);
    ProblemShape other = shape;
    other.page_size = page_size;
    other.page_seed = 5;
    CHECK(check_same_bits(run_shape(other, 3), want) == "");
  }
  for (const KvLayout layout : {KvLayout::kPacked, KvLayout::kNHD, KvLayout::kHND}) {
    ProblemShape other = shape;
    other.layout = layout;
    other.page_size = 7;
    CHECK(check_same_bits(run_shape(other), want) == "");
  }
}

TEST_CASE("the same bits whole, in chunks and token by token, alone and beside others") {
  if (!amx_possible()) return;
  const AmxTrap trap;
  const int32_t length = 69;
  const Output want = run_shape(prefill(length, length));
  for (const int32_t chunk : {1, 5, 16, 40}) {
    CAPTURE(chunk);
    for (int32_t begin = 0; begin < length; begin += chunk) {
      const int32_t end = std::min(length, begin + chunk);
      ProblemShape part = prefill(end - begin, end);
      part.sequences[0].first_token = begin;
      part.sequences[0].id = 0;
      part.sequences.push_back({.q_len = 2, .kv_len = 33, .id = 9});
      const Output got = run_shape(part);
      CHECK(check_same_bits({got}, {want, begin}, end - begin) == "");
    }
  }
}

TEST_CASE("the thread's MXCSR is as it was, its tiles are released") {
  if (!amx_possible()) return;
  const AmxTrap trap;
  const uint32_t upwards = 0x1f80 | 0x4000;
  uint32_t saved = 0;
  uint32_t after = 0;
  const Problem problem(prefill(20, 20));
  Output output = problem.make_output();
  __asm__ volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(saved) : "m"(upwards) : "memory");
  const std::string status = run_table(amx_table(), problem, output);
  __asm__ volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(after) : "m"(saved) : "memory");
  CHECK(status == "ok");
  CHECK((after & 0xffc0) == upwards);
  cpu::TileConfig config;
  cpu::tile_store_config(config);
  const char none[sizeof config] = {};
  CHECK(std::memcmp(&config, none, sizeof config) == 0);
}

// Products: keys / 16 x dims / 32 for scores and keys / 32 x dims / 16 for values, for each 16
// rows. One shape for all tiles of an item.
TEST_CASE("a product for each 16 rows, 32 steps and 16 columns, and no more; 1.5 loads for it") {
  if (!amx_possible()) return;
  const AmxTrap trap;
  if (!trap.trapping()) return;
  constexpr int32_t kRows[][2] = {{1, 1}, {1, 4}, {1, 8}, {1, 16}, {1, 32}, {8, 4}, {16, 4}};
  for (const auto& rows : kRows) {
    for (const int32_t dim : {64, 128}) {
      ProblemShape shape = prefill(rows[0], 512);
      shape.spec.num_heads_q = rows[1];
      shape.spec.head_dim = dim;
      shape.spec.causal = false;
      const AmxCounts counts = counts_of(trap, shape);
      const int64_t row_tiles = (rows[0] * rows[1] + 15) / 16;
      const int64_t products = row_tiles * (512 / 16 * (dim / 32) + 512 / 32 * (dim / 16));
      CAPTURE(rows[0] * rows[1]);
      CAPTURE(dim);
      CHECK(counts[AmxOp::kTdpbf16ps] == products);
      CHECK(counts[AmxOp::kLdtilecfg] == 1);
      CHECK(counts[AmxOp::kTilerelease] == 1);
      CHECK(2 * counts[AmxOp::kTileloadd] <= 3 * products);
      CHECK(2 * counts[AmxOp::kTilestored] <= products);
      CHECK(counts[AmxOp::kTileloaddt1] + counts[AmxOp::kSttilecfg] == 0);
    }
  }
}

}  // namespace
}  // namespace attnrt::test

#endif
