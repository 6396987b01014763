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

}  // namespace attnrt::testing
