// SPDX-License-Identifier: Apache-2.0
#include "src/expr/sparsity.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/support/prepared_mask.hpp"

namespace attnrt::testing {
namespace {

using expr::KeyRun;
using expr::RunList;
using expr::RunRequest;

struct Planned {
  PreparedMask mask;
  RunRequest request;
  RunList runs;
  expr::Evaluator evaluator;
};

Planned planned(const std::string& text, const MaskShape& shape, int32_t tile_tokens) {
  expr::Expr mask;
  REQUIRE(expr::parse(text, mask).ok());
  Planned out{PreparedMask(mask, {}, shape), {}, {}, {}};
  out.request.q_begin = shape.q_begin;
  out.request.q_end = shape.q_begin + shape.q_len;
  out.request.kv_len = shape.kv_len;
  out.request.tile_tokens = tile_tokens;
  expr::TileClassifier classifier(out.mask.analysis());
  classifier.set_sequence(out.mask.scope());
  append_runs(classifier, out.request, out.runs);
  REQUIRE(expr::Evaluator::create(mask, {}, out.evaluator).ok());
  return out;
}

}  // namespace

TEST_CASE("blocks are counted and drawn") {
  const Planned causal = planned("kv <= q", {0, 256, 256}, 64);
  const expr::Sparsity blocks = sparsity_of(causal.runs, causal.request);
  CHECK(blocks.full_blocks == 6);
  CHECK(blocks.partial_blocks == 4);
  CHECK(blocks.empty_blocks == 6);
  CHECK(blocks.sparsity() == doctest::Approx(6.0 / 16));
  CHECK(picture_of(causal.runs, causal.request) == "+...\n#+..\n##+.\n###+\n");
  // Two blocks by two for a character: the lower left is full, the diagonal mixed.
  CHECK(picture_of(causal.runs, causal.request, 2, 2) == "+.\n#+\n");
  CHECK(sparsity_of(RunList{}, RunRequest{}).sparsity() == 0.0);
}

TEST_CASE("verification passes plans and finds each kind of lie") {
  for (const MaskCase& mask_case : mask_catalogue(256)) {
    CAPTURE(mask_case.name);
    PreparedMask mask(mask_case);
    expr::Evaluator evaluator;
    REQUIRE(expr::Evaluator::create(mask.expression(), mask_case.values(), evaluator).ok());
    RunRequest request;
    request.q_begin = mask_case.q_begin;
    request.q_end = mask_case.q_begin + mask_case.q_len;
    request.kv_len = mask_case.kv_len;
    expr::TileClassifier classifier(mask.analysis());
    classifier.set_sequence(mask.scope());
    RunList runs;
    append_runs(classifier, request, runs);
    CHECK_FALSE(verify_runs(evaluator, mask.scope(), request, runs).has_value());
  }
  Planned causal = planned("kv <= q", {100, 128, 228}, 64);
  REQUIRE(causal.runs.tile(1).size() == 2);
  const auto verify = [&](const RunList& runs) {
    return verify_runs(causal.evaluator, causal.mask.scope(), causal.request, runs);
  };
  RunList too_full = causal.runs;
  too_full.runs.back() = KeyRun(too_full.runs.back().key_begin(), 228, true);
  const auto hidden = verify(too_full);
  REQUIRE(hidden.has_value());
  CHECK(hidden->tile == 1);
  CHECK(hidden->q == 164);
  CHECK(hidden->key == 165);
  CHECK_FALSE(hidden->visible);
  RunList too_empty = causal.runs;
  too_empty.runs.back() = KeyRun(192, 200, false);
  const auto seen = verify(too_empty);
  REQUIRE(seen.has_value());
  CHECK(seen->visible);
}

TEST_CASE("row intervals are the mask again") {
  for (const MaskCase& mask_case : mask_catalogue(256)) {
    CAPTURE(mask_case.name);
    PreparedMask mask(mask_case);
    expr::Evaluator evaluator;
    REQUIRE(expr::Evaluator::create(mask.expression(), mask_case.values(), evaluator).ok());
    RunRequest request;
    request.q_begin = mask_case.q_begin;
    request.q_end = mask_case.q_begin + mask_case.q_len;
    request.kv_len = mask_case.kv_len;
    request.tile_tokens = 48;
    expr::TileClassifier classifier(mask.analysis());
    classifier.set_sequence(mask.scope());
    RunList runs;
    append_runs(classifier, request, runs);
    const expr::RowIntervals rows = row_intervals(evaluator, mask.scope(), 0, request, runs);
    REQUIRE(std::ssize(rows.row_begin) == mask_case.q_len + 1);
    for (int32_t i = 0; i < mask_case.q_len; ++i) {
      const auto begin = static_cast<size_t>(rows.row_begin[static_cast<size_t>(i)]);
      const auto end = static_cast<size_t>(rows.row_begin[static_cast<size_t>(i) + 1]);
      std::vector<uint8_t> row(static_cast<size_t>(mask_case.kv_len));
      for (size_t n = begin; n < end; ++n) {
        CHECK(rows.intervals[n].begin < rows.intervals[n].end);
        if (n > begin) CHECK(rows.intervals[n - 1].end < rows.intervals[n].begin);
        std::fill(row.begin() + rows.intervals[n].begin, row.begin() + rows.intervals[n].end,
                  uint8_t{1});
      }
      bool same = true;
      for (int32_t key = 0; key < mask_case.kv_len; ++key) {
        same &= (row[static_cast<size_t>(key)] != 0) ==
                mask.visible(0, int64_t{mask_case.q_begin} + i, key);
      }
      CHECK(same);
    }
  }
}

}  // namespace attnrt::testing
