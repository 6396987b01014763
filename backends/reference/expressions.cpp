// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/expressions.hpp"

#include <span>

#include "src/expr/program.hpp"

namespace attnrt::reference {
namespace {

expr::Evaluator evaluator(const expr::ProgramData* program, std::span<const expr::SlotValue> values,
                          expr::Precision precision) {
  expr::Evaluator made;
  if (program == nullptr) return made;
  // Slots have been checked: an evaluator that fails here leaves one that cannot be asked.
  static_cast<void>(expr::Evaluator::create(program->source, values, made, precision));
  return made;
}

}  // namespace

Expressions::Expressions(const AttentionSpec& spec, const SequenceBatch& batch,
                         const AttendArgs& args)
    : has_mask_(spec.mask.valid()),
      has_score_(spec.score.valid()),
      group_(spec.num_heads_q / spec.num_heads_kv),
      mask_(evaluator(spec.mask.data(), batch.mask_values, expr::Precision::kSingle)),
      score_double_(evaluator(spec.score.data(), args.score_values, expr::Precision::kDouble)),
      score_single_(evaluator(spec.score.data(), args.score_values, expr::Precision::kSingle)) {}

expr::Point Expressions::point(const Element& element) const {
  return {.b = element.seq,
          .h = element.q_head,
          .hkv = element.q_head / group_,
          .q = element.position,
          .kv = element.key,
          .q_len = element.q_len,
          .kv_len = element.kv_len,
          .score = 0.0};
}

bool Expressions::visible(const Element& element) {
  return !has_mask_ || mask_.predicate(point(element));
}

double Expressions::score(const Element& element, double score) {
  if (!has_score_) return score;
  expr::Point at = point(element);
  at.score = score;
  return score_double_.real(at);
}

float Expressions::score(const Element& element, float score) {
  if (!has_score_) return score;
  expr::Point at = point(element);
  at.score = score;
  return static_cast<float>(score_single_.real(at));
}

}  // namespace attnrt::reference
