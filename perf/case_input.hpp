// SPDX-License-Identifier: Apache-2.0
// What a case of a sweep hands to make_plan and attend: spec, lengths, mask and score.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attnrt/attention.hpp"
#include "perf/named_masks.hpp"
#include "perf/sweep_grid.hpp"

namespace attnrt::perf {

/// Neither copied nor moved: spec and batch point into it.
class CaseInput {
 public:
  /// Throws BadInput where the case's mask or score is neither a name nor text.
  explicit CaseInput(const SweepCase& sweep_case);

  CaseInput(const CaseInput&) = delete;
  CaseInput& operator=(const CaseInput&) = delete;
  ~CaseInput() = default;

  /// Borrows [batch, pages_per_sequence] pages. Without it, K and V are packed.
  void set_pages(std::span<const int32_t> pages, int32_t pages_per_sequence);

  [[nodiscard]] const SweepCase& sweep_case() const { return case_; }
  [[nodiscard]] const AttentionSpec& spec() const { return spec_; }
  [[nodiscard]] const SequenceBatch& batch() const { return batch_; }
  [[nodiscard]] std::span<const expr::SlotValue> score_values() const { return score_values_; }
  [[nodiscard]] int64_t tokens() const { return cu_seqlens_q_.back(); }

  /// The mask as one expression, windows and causal included; `true` without any.
  [[nodiscard]] expr::Expr whole_mask() const;

 private:
  SweepCase case_;
  NamedExpr mask_;
  expr::Expr mask_expr_ = true;
  NamedExpr score_;
  std::vector<expr::SlotValue> mask_values_;
  std::vector<expr::SlotValue> score_values_;
  std::vector<int32_t> cu_seqlens_q_{0};
  std::vector<int32_t> cu_seqlens_k_{0};
  std::vector<int32_t> kv_lens_;
  AttentionSpec spec_;
  SequenceBatch batch_;
};

}  // namespace attnrt::perf
