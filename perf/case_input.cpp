// SPDX-License-Identifier: Apache-2.0
#include "perf/case_input.hpp"

#include <string>

#include "perf/cli.hpp"

namespace attnrt::perf {
namespace {

// Catalogues are tested and free text was checked when it was looked up, so this does not fail.
template <class Program>
Program compiled(const NamedExpr& named, Status (*compile)(const expr::Expr&, Program&),
                 expr::Expr& expression) {
  Program program;
  Status status = expr::parse(named.text, expression);
  if (status.ok()) status = compile(expression, program);
  if (!status.ok()) throw BadInput(named.name + ": " + std::string(status.message()));
  return program;
}

}  // namespace

CaseInput::CaseInput(const SweepCase& sweep_case) : case_(sweep_case) {
  const SweepCase& c = case_;
  const NamedShape shape{.tokens = c.kv_len, .heads = c.heads.q};
  spec_.num_heads_q = c.heads.q;
  spec_.num_heads_kv = c.heads.kv;
  spec_.head_dim = c.head_dim;
  spec_.head_dim_v = c.head_dim_v;
  spec_.causal = c.causal;
  spec_.window_left = c.window - 1;
  spec_.softcap = c.softcap;
  if (!c.mask.empty()) {
    mask_ = named_mask(c.mask, shape);
    spec_.mask = compiled(mask_, expr::compile_mask, mask_expr_);
    mask_values_ = mask_.values();
  }
  if (!c.score.empty()) {
    score_ = named_score(c.score, shape);
    expr::Expr expression;
    spec_.score = compiled(score_, expr::compile_score, expression);
    score_values_ = score_.values();
  }
  for (const SequenceLengths& sequence : sequence_lengths(c)) {
    cu_seqlens_q_.push_back(cu_seqlens_q_.back() + sequence.q);
    cu_seqlens_k_.push_back(cu_seqlens_k_.back() + sequence.kv);
    kv_lens_.push_back(sequence.kv);
  }
  batch_.cu_seqlens_q = cu_seqlens_q_;
  batch_.cu_seqlens_k = cu_seqlens_k_;
  batch_.mask_values = mask_values_;
}

void CaseInput::set_pages(std::span<const int32_t> pages, int32_t pages_per_sequence) {
  batch_.cu_seqlens_k = {};
  batch_.seqused_k = kv_lens_;
  batch_.block_table = BlockTable::dense(pages, pages_per_sequence, case_.page_size);
}

expr::Expr CaseInput::whole_mask() const {
  expr::Expr mask = mask_expr_;
  if (spec_.causal) mask = mask && expr::kv() <= expr::q();
  if (spec_.window_left >= 0) mask = mask && expr::q() - expr::kv() <= spec_.window_left;
  return mask;
}

}  // namespace attnrt::perf
