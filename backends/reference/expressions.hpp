// SPDX-License-Identifier: Apache-2.0
// Mask and score expressions of a call, evaluated element by element by their definition.
#pragma once

#include <cstdint>

#include "attnrt/attention.hpp"
#include "src/expr/evaluate.hpp"

namespace attnrt::reference {

/// Where an element stands.
struct Element {
  int64_t seq = 0;
  int64_t q_head = 0;
  int64_t position = 0;  // logical, of the query
  int64_t key = 0;
  int64_t q_len = 0;
  int64_t kv_len = 0;
};

/// The expressions of a spec with the slots of a batch and a call, which must be good. Not for
/// several threads at once.
class Expressions {
 public:
  Expressions(const AttentionSpec& spec, const SequenceBatch& batch, const AttendArgs& args);

  /// True without a mask.
  bool visible(const Element& element);

  /// The score itself without an expression. In double all steps are, in float they are rounded
  /// as the language has it.
  double score(const Element& element, double score);
  float score(const Element& element, float score);

 private:
  [[nodiscard]] expr::Point point(const Element& element) const;

  bool has_mask_ = false;
  bool has_score_ = false;
  int64_t group_ = 1;
  expr::Evaluator mask_, score_double_, score_single_;
};

}  // namespace attnrt::reference
