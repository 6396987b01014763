// SPDX-License-Identifier: Apache-2.0
// Masks and scores of the catalogues through plans and every ISA, against the definition: whole
// prompts, chunks, single tokens; grouped, paged, ragged.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/src/expr/catalogue_scores.hpp"
#include "tests/support/build.hpp"
#include "tests/support/check.hpp"
#include "tests/support/mask_catalogue.hpp"
#include "tests/support/mask_problem.hpp"
#include "tests/support/programs.hpp"

namespace attnrt::test {
namespace {

constexpr int32_t kTokens = 256;

// The mask over its own shape: a chunk, or a step of decoding.
ProblemShape shape_of(const testing::MaskCase& mask, int32_t q_len) {
  ProblemShape shape;
  shape.spec.mask = mask_of(mask.text);
  shape.spec.num_heads_q = 2 * mask.num_heads;
  shape.spec.num_heads_kv = mask.num_heads;
  shape.spec.head_dim = 16;
  put_sequence(mask, q_len, shape);
  return shape;
}

void check_masks(int32_t q_len, KvLayout layout, DType dtype) {
  for (const testing::MaskCase& mask : testing::mask_catalogue(kTokens)) {
    CAPTURE(mask.name);
    ProblemShape shape = shape_of(mask, q_len);
    shape.layout = layout;
    shape.q_dtype = shape.kv_dtype = dtype;
    check_on_every_isa(Problem(shape));
  }
}

TEST_CASE("masks of the catalogue: whole prompts, row-major pages, f32") {
  check_masks(kTokens, KvLayout::kNHD, DType::kF32);
}

TEST_CASE("masks of the catalogue: one token, packed16, bf16") {
  check_masks(1, KvLayout::kPacked16, DType::kBF16);
}

TEST_CASE("masks of the catalogue: two tokens, packed, f32") {
  check_masks(2, KvLayout::kPacked, DType::kF32);
}

TEST_CASE("masks of the catalogue: seven tokens, packed16, f16") {
  check_masks(7, KvLayout::kPacked16, DType::kF16);
}

TEST_CASE("scores of the catalogue: prompts, chunks and single tokens of two sequences") {
  const expr::catalogue::Tables tables;
  constexpr auto kKeys = static_cast<int32_t>(expr::catalogue::kTokens);
  for (const expr::catalogue::ScoreCase& score : expr::catalogue::kScores) {
    const std::string name = score.name;
    CAPTURE(name);
    for (const int32_t q_len : {kKeys, 7, 2, 1}) {
      ProblemShape shape;
      shape.spec.score = score_of(score.text);
      shape.spec.num_heads_q = expr::catalogue::kHeads;
      shape.spec.num_heads_kv = 2;
      shape.spec.head_dim = 32;
      shape.spec.causal = q_len != 7;
      shape.score_values = tables.values();
      shape.layout = q_len == 2 ? KvLayout::kNHD : KvLayout::kPacked16;
      shape.q_dtype = shape.kv_dtype = q_len == 1 ? DType::kBF16 : DType::kF32;
      shape.sequences = {{.q_len = q_len, .kv_len = kKeys}, {.q_len = 1, .kv_len = kKeys - 9}};
      check_on_every_isa(Problem(shape));
    }
  }
}

TEST_CASE("a difference of ints that passes int32 becomes a float as it is") {
  const std::vector<int32_t> far{-2'000'000'000, 2'000'000'000, 5, -7};
  ProblemShape shape;
  shape.spec.score = score_of("score + (far[q % 4] - far[kv % 4]) * 1e-9");
  shape.score_values = {expr::buffer_value("far", expr::ElementType::kI32, far.data(), {4})};
  shape.spec.num_heads_q = 2;
  shape.spec.num_heads_kv = 1;
  shape.spec.head_dim = 16;
  shape.sequences = {{.q_len = 9, .kv_len = 70}, {.q_len = 1, .kv_len = 20}};
  check_on_every_isa(Problem(shape));
}

}  // namespace
}  // namespace attnrt::test
