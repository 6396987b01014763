// SPDX-License-Identifier: Apache-2.0
#include "perf/tile_scores.hpp"

#include <algorithm>
#include <string>

#include "perf/cli.hpp"
#include "src/expr/classify.hpp"
#include "src/expr/evaluate.hpp"
#include "src/expr/plan_runs.hpp"

namespace attnrt::perf {
namespace {

struct Tile {
  int32_t q_begin = 0;
  int32_t q_end = 0;
  int32_t key_begin = 0;
  int32_t key_end = 0;

  [[nodiscard]] int64_t scores() const { return int64_t{q_end - q_begin} * (key_end - key_begin); }
};

class Counter {
 public:
  Counter(const expr::MaskAnalysis& analysis, expr::Evaluator& mask)
      : classifier_(analysis), mask_(mask) {}

  // Scores of one head.
  int64_t count(const expr::SequenceScope& scope) {
    scope_ = scope;
    classifier_.set_sequence(scope);
    const int32_t first = scope.kv_len - scope.q_len;
    runs_.clear();
    expr::append_runs(classifier_,
                      {.q_begin = first,
                       .q_end = scope.kv_len,
                       .kv_len = scope.kv_len,
                       .tile_tokens = kWorkTile,
                       .block_keys = kWorkTile},
                      runs_);
    int64_t scores = 0;
    for (int64_t t = 0; t < runs_.num_tiles(); ++t) {
      const auto q_begin = static_cast<int32_t>(first + t * kWorkTile);
      const int32_t q_end = std::min(scope.kv_len, q_begin + kWorkTile);
      for (const expr::KeyRun& run : runs_.tile(t)) {
        for (int32_t key = run.key_begin(); key < run.key_end(); key += kWorkTile) {
          const Tile tile{q_begin, q_end, key, std::min(run.key_end(), key + kWorkTile)};
          if (run.full() || any_visible(tile)) scores += tile.scores();
        }
      }
    }
    return scores;
  }

 private:
  // Elements in steps of a prime that no tile's size is a multiple of, so that each has its turn
  // and a visible one is found early wherever it is.
  bool any_visible(const Tile& tile) {
    constexpr int64_t kStep = 1597;
    const int64_t elements = tile.scores();
    const int64_t columns = tile.key_end - tile.key_begin;
    expr::Point point{.b = scope_.b,
                      .h = scope_.h_begin,
                      .hkv = scope_.hkv_begin,
                      .q_len = scope_.q_len,
                      .kv_len = scope_.kv_len};
    const auto visible = [&](int64_t element) {
      point.q = tile.q_begin + element / columns;
      point.kv = tile.key_begin + element % columns;
      return mask_.predicate(point);
    };
    for (int64_t i = 0; i < elements; ++i) {
      if (visible(i * kStep % elements)) return true;
    }
    return false;
  }

  expr::TileClassifier classifier_;
  expr::Evaluator& mask_;
  expr::SequenceScope scope_;
  expr::RunList runs_;
};

}  // namespace

int64_t tile_scores(const CaseInput& input) {
  const expr::Expr whole = input.whole_mask();
  expr::MaskProgram program;
  expr::Bindings bindings;
  expr::Evaluator mask;
  Status status = expr::compile_mask(whole, program);
  const std::span<const expr::SlotValue> values = input.batch().mask_values;
  if (status.ok()) status = expr::bind_slots(program.slots(), values, bindings);
  if (status.ok()) status = expr::Evaluator::create(whole, values, mask);
  if (!status.ok()) throw BadInput("mask: " + std::string(status.message()));

  const expr::MaskAnalysis analysis(*program.data(), bindings);
  Counter counter(analysis, mask);
  const Heads heads = input.sweep_case().heads;
  const int32_t group = heads.q / heads.kv;
  int64_t scores = 0;
  int32_t b = 0;
  for (const SequenceLengths& lengths : sequence_lengths(input.sweep_case())) {
    const int32_t classes = program.uses_head() ? heads.q : 1;
    for (int32_t h = 0; h < classes; ++h) {
      scores += heads.q / classes *
                counter.count({.b = b,
                               .h_begin = h,
                               .h_end = h + 1,
                               .hkv_begin = h / group,
                               .hkv_end = h / group + 1,
                               .q_len = lengths.q,
                               .kv_len = lengths.kv});
    }
    ++b;
  }
  return scores;
}

}  // namespace attnrt::perf
