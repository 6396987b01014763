// SPDX-License-Identifier: Apache-2.0
// The AMX kernels as they ship against the reference, on CPUs without AMX under the trap.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/amx_call.hpp"
#include "tests/support/amx_trap.hpp"
#include "tests/support/check.hpp"
#include "tests/support/programs.hpp"

namespace attnrt::test {
namespace {

ProblemShape shape_of(int32_t group, int32_t dim, std::vector<SequenceShape> sequences) {
  ProblemShape shape;
  shape.spec.num_heads_kv = 1;
  shape.spec.num_heads_q = group;
  shape.spec.head_dim = dim;
  shape.spec.causal = true;
  shape.q_dtype = shape.kv_dtype = DType::kBF16;
  shape.layout = KvLayout::kPacked16;
  shape.page_size = 32;
  shape.sequences = std::move(sequences);
  return shape;
}

void check(const ProblemShape& shape) {
  const Problem problem(shape);
  const std::string text = describe(shape);
  CAPTURE(text);
  Output output = problem.make_output();
  REQUIRE(run_table(amx_table(), problem, output) == "ok");
  CHECK(check_close(problem, expect(problem), output, reference::Weights::kBFloat16) == "");
}

}  // namespace

TEST_SUITE("amx") {
  TEST_CASE("every height of tiles, with all that stands on edges") {
    if (!amx_possible()) return;
    const AmxTrap trap;
    const AmxCounts before = trap.counts();
    constexpr int32_t kRows[][2] = {{1, 1}, {1, 4},  {1, 8},  {1, 16}, {3, 5},  {1, 17},
                                    {7, 4}, {1, 32}, {11, 3}, {5, 8},  {47, 1}, {9, 8}};
    constexpr int32_t kDims[][2] = {{64, 64}, {128, 128}, {80, 80}, {16, 48}, {33, 7}};
    constexpr int32_t kKeys[] = {1, 17, 64, 65, 130, 250, 530};
    constexpr int32_t kPages[] = {32, 16, 64, 48};
    constexpr KvLayout kLayouts[] = {KvLayout::kPacked16, KvLayout::kPacked16, KvLayout::kNHD,
                                     KvLayout::kPacked16, KvLayout::kPacked};
    int n = 0;
    for (const auto& rows : kRows) {
      for (const auto& dims : kDims) {
        const int32_t keys = std::max(rows[0], kKeys[n % 7]);
        ProblemShape shape = shape_of(rows[1], dims[0], {{.q_len = rows[0], .kv_len = keys}});
        shape.spec.num_heads_kv = 1 + n % 2;
        shape.spec.num_heads_q = rows[1] * shape.spec.num_heads_kv;
        shape.spec.head_dim_v = dims[1];
        shape.layout = kLayouts[n % 5];
        shape.page_size = kPages[n / 5 % 4];
        shape.spec.causal = n % 4 != 3;
        if (n % 3 == 1) shape.spec.window_left = 40;
        shape.seed = static_cast<uint64_t>(++n);
        check(shape);
      }
    }
    const AmxCounts counts = trap.counts() - before;
    CHECK((counts[AmxOp::kTdpbf16ps] > 5000) == trap.trapping());
  }

  TEST_CASE("batches, soft cap, ALiBi, sinks, windows on both sides, leftpad, latent attention") {
    if (!amx_possible()) return;
    const AmxTrap trap;
    for (int n = 0; n < 16; ++n) {
      ProblemShape shape =
          shape_of(4, 64, {{.q_len = 3, .kv_len = 70}, {.q_len = 9, .kv_len = 20}});
      shape.spec.softcap = (n & 1) != 0 ? 2.0f : 0.0f;
      shape.spec.has_alibi = (n & 2) != 0;
      shape.spec.has_sinks = (n & 4) != 0;
      if ((n & 8) != 0) shape.spec.window_left = 5;
      if (n % 5 == 0) {
        shape.spec.causal = false;
        shape.spec.window_right = 3;
      }
      shape.sequences.push_back({.q_len = 1, .kv_len = 0});
      if (n % 3 == 0) shape.sequences[1].leftpad = 16;
      shape.padded = n % 2 == 0;
      shape.out_dtype = n % 2 == 0 ? DType::kBF16 : DType::kF32;
      check(shape);
    }
    ProblemShape latent = shape_of(16, 576, {{.q_len = 2, .kv_len = 75}});
    latent.spec.head_dim_v = 512;
    latent.layout = KvLayout::kNHD;
    latent.mla = true;
    check(latent);
  }

  TEST_CASE("branches share V, in pages and row-major, with a mask of the head") {
    if (!amx_possible()) return;
    const AmxTrap trap;
    for (const KvLayout layout : {KvLayout::kPacked16, KvLayout::kNHD}) {
      for (const int32_t branches : {2, 3}) {
        ProblemShape shape =
            shape_of(8, 40, {{.q_len = 11, .kv_len = 150}, {.q_len = 1, .kv_len = 560}});
        shape.layout = layout;
        shape.spec.num_heads_kv = 2;
        shape.spec.head_dim_v = 80;
        shape.spec.num_branches = branches;
        shape.spec.has_sinks = true;
        shape.spec.mask = mask_of("(kv + h) % 3 != 0");
        check(shape);
      }
    }
  }

  // With scale 0 every weight is 1 exactly, and small whole numbers have exact sums: one key too
  // many or too few, or counted twice, shows.
  TEST_CASE("sums over keys are exact where they can be") {
    if (!amx_possible()) return;
    const AmxTrap trap;
    for (const int32_t page_size : {16, 32, 48}) {
      for (const int32_t rows : {1, 8, 23, 40}) {
        ProblemShape shape = shape_of(1, 48, {{.q_len = rows, .kv_len = 300}});
        shape.page_size = page_size;
        shape.spec.softmax_scale = 0.0f;
        shape.spec.window_left = 201;
        Problem problem(shape);
        const auto value = [](int32_t key, int32_t d) { return (key * 7 + d * 3) % 64; };
        for (int32_t key = 0; key < 300; ++key) {
          for (int32_t d = 0; d < 48; ++d) problem.set_v(0, key, 0, d, value(key, d));
        }
        Output output = problem.make_output();
        REQUIRE(run_table(amx_table(), problem, output) == "ok");
        int wrong = 0;
        for (int32_t token = 0; token < rows; ++token) {
          const int32_t last = 300 - rows + token;
          const int32_t first = last - 201;
          for (int32_t d = 0; d < 48; ++d) {
            int32_t sum = 0;
            for (int32_t key = first; key <= last; ++key) sum += value(key, d);
            const double want = static_cast<float>(sum) / 202.0f;
            wrong += std::abs(output.at(token, 0, d) - want) <= 4e-6 ? 0 : 1;
          }
        }
        CAPTURE(page_size);
        CAPTURE(rows);
        CHECK(wrong == 0);
      }
    }
  }

  TEST_CASE("NaN reaches the rows that see it, from wherever it stands, and no others") {
    if (!amx_possible()) return;
    const AmxTrap trap;
    constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();
    for (const int32_t key : {0, 20, 31, 32, 63, 64, 75, 99}) {
      for (const bool is_v : {false, true}) {
        ProblemShape shape =
            shape_of(2, 32, {{.q_len = 21, .kv_len = 100}, {.q_len = 1, .kv_len = 9}});
        shape.spec.window_left = 30;
        shape.sequences[0].spare = 20;
        Problem problem(shape);
        if (is_v) {
          problem.set_v(0, key, 0, 5, kNotANumber);
        } else {
          problem.set_k(0, key, 0, 5, kNotANumber);
        }
        CAPTURE(key);
        CAPTURE(is_v);
        Output output = problem.make_output();
        REQUIRE(run_table(amx_table(), problem, output) == "ok");
        CHECK(check_out(problem, expect(problem), output, reference::Weights::kBFloat16) == "");
      }
    }
  }
}

}  // namespace attnrt::test
