// SPDX-License-Identifier: Apache-2.0
// Rows of the AMX kernels have the same bits whatever number of rows stands beside them, on CPUs
// without AMX under the trap.
#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "tests/support/amx_call.hpp"
#include "tests/support/amx_trap.hpp"
#include "tests/support/check.hpp"

namespace attnrt::test {
namespace {

constexpr int32_t kTokens = 40;

// Tokens [begin, end) of 40 at the end of 135 keys; one V is infinite, so that rows that see it and
// rows that do not share tiles.
Output tokens(int32_t begin, int32_t end, int32_t group, KvLayout layout, int32_t page_size,
              bool infinite) {
  ProblemShape shape;
  shape.spec.num_heads_kv = 1;
  shape.spec.num_heads_q = group;
  shape.spec.head_dim = 48;
  shape.spec.causal = true;
  shape.spec.window_left = 37;
  shape.q_dtype = shape.kv_dtype = DType::kBF16;
  shape.layout = layout;
  shape.page_size = page_size;
  const int32_t start = 135 - kTokens;
  shape.sequences = {{end - begin, start + end}};
  shape.sequences[0].first_token = begin;
  Problem problem(shape);
  const int32_t key = start + 20;
  if (infinite && key < start + end) {
    problem.set_v(0, key, 0, 7, std::numeric_limits<double>::infinity());
  }
  Output output = problem.make_output();
  REQUIRE(run_table(amx_table(), problem, output) == "ok");
  return output;
}

}  // namespace

TEST_SUITE("amx") {
  TEST_CASE("chunks of any size and whole calls, on pages of groups of 32 keys and row-major") {
    if (!amx_possible()) return;
    const AmxTrap trap;
    for (const bool infinite : {false, true}) {
      for (const int32_t group : {1, 3}) {
        const Output whole = tokens(0, kTokens, group, KvLayout::kPacked16, 64, infinite);
        for (const int32_t count : {1, 2, 5, 11, 16, 17, 33}) {
          const int32_t begin = count * 5 % (kTokens - count + 1);
          const bool packed16 = count % 2 != 0;
          const Output part =
              tokens(begin, begin + count, group, packed16 ? KvLayout::kPacked16 : KvLayout::kNHD,
                     packed16 ? 32 : 7, infinite);
          CAPTURE(count);
          CAPTURE(group);
          CAPTURE(infinite);
          CHECK(check_same_bits({part}, {whole, begin}, count) == "");
        }
      }
    }
  }
}

}  // namespace attnrt::test
