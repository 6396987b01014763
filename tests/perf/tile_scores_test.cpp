// SPDX-License-Identifier: Apache-2.0
// Scores of non-empty tiles, against looking at every element.
#include "perf/tile_scores.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "src/expr/evaluate.hpp"
#include "tests/perf/square_case.hpp"

namespace attnrt::perf {
namespace {

int64_t by_elements(const CaseInput& input) {
  expr::Evaluator mask;
  REQUIRE(expr::Evaluator::create(input.whole_mask(), input.batch().mask_values, mask).ok());
  const SweepCase& c = input.sweep_case();
  int64_t scores = 0;
  int32_t b = 0;
  for (const SequenceLengths& lengths : sequence_lengths(c)) {
    const int32_t start = lengths.kv - lengths.q;
    for (int32_t h = 0; h < c.heads.q; ++h) {
      for (int32_t q = start; q < lengths.kv; q += kWorkTile) {
        for (int32_t kv = 0; kv < lengths.kv; kv += kWorkTile) {
          const int32_t q_end = std::min(lengths.kv, q + kWorkTile);
          const int32_t kv_end = std::min(lengths.kv, kv + kWorkTile);
          bool any = false;
          for (int32_t i = q; i < q_end && !any; ++i) {
            for (int32_t j = kv; j < kv_end && !any; ++j) {
              any = mask.predicate({.b = b,
                                    .h = h,
                                    .hkv = h / 2,
                                    .q = i,
                                    .kv = j,
                                    .q_len = lengths.q,
                                    .kv_len = lengths.kv});
            }
          }
          scores += any ? int64_t{q_end - q} * (kv_end - kv) : 0;
        }
      }
    }
    ++b;
  }
  return scores;
}

TEST_CASE("a tile counts as a whole where one element of it is visible, and not at all elsewhere") {
  CHECK(tile_scores(CaseInput(square("none", 256))) == 4 * 256 * 256);
  CHECK(tile_scores(CaseInput(square("false", 256))) == 0);
  CHECK(tile_scores(CaseInput(square("causal", 256))) == 4 * 10 * 64 * 64);
  // The last element of a tile, which no proof finds.
  CHECK(tile_scores(CaseInput(square("q * kv == 127 * 63", 256))) == 4 * 64 * 64 * 2);
}

TEST_CASE("every named mask, with and without windows, ragged and with fewer queries than keys") {
  for (const std::string& mask : mask_names()) {
    CAPTURE(mask);
    SweepCase c = square(mask, 200);
    CHECK(tile_scores(CaseInput(c)) == by_elements(CaseInput(c)));
    c.causal = true;
    c.window = 70;
    c.q_len = 77;
    CHECK(tile_scores(CaseInput(c)) == by_elements(CaseInput(c)));
    c.batch = 3;
    c.ragged = 10;
    c.q_len = c.kv_len;
    CHECK(tile_scores(CaseInput(c)) == by_elements(CaseInput(c)));
  }
}

TEST_CASE("masks that depend on the head or the sequence") {
  for (const char* mask : {"kv <= q && q - kv < 20 + 40 * h", "kv < 50 * hkv", "kv < 90 * b"}) {
    CAPTURE(mask);
    SweepCase c = square(mask, 200);
    c.batch = 2;
    CHECK(tile_scores(CaseInput(c)) == by_elements(CaseInput(c)));
  }
}

}  // namespace
}  // namespace attnrt::perf
