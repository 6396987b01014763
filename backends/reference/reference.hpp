// SPDX-License-Identifier: Apache-2.0
// The definition of what a call computes: double precision, one key at a time. It shares no code
// with the rest of the library, so that it can judge it. Arguments must be good: nothing is
// checked.
#pragma once

#include <cstdint>
#include <vector>

#include "attnrt/attention.hpp"

namespace attnrt::reference {

/// One row of the output: a query token (counted within its sequence) and a query head.
struct RowIndex {
  int64_t seq = 0;
  int64_t token = 0;
  int64_t q_head = 0;
};

/// A finished row. `lse` is natural, -inf without visible keys (and without a sink).
struct Row {
  std::vector<double> out;  // [Dv], epilogue included, not rounded to the dtype of args.out
  double lse = 0.0;
  double max_abs_score = 0.0;  // over visible keys: what the bound of the LSE is relative to
  double max_abs_value = 0.0;  // over V of visible keys: the floor of the bound of `out`
  double max_mean_abs = 0.0;   // largest finite element of |V| weighted as V is: what rounded
                               // weights may cost
  int64_t visible_keys = 0;
  double max = 0.0;  // largest visible score, -inf without one
};

/// The row, in double precision.
Row attend_row(const AttentionSpec& spec, const SequenceBatch& batch, const AttendArgs& args,
               RowIndex where);

/// The same row by the plain unfused computation in f32: all scores, then softmax, then the
/// weighted sum. Its distance from attend_row is the unit of the error rule (error_rule.hpp).
Row naive_row(const AttentionSpec& spec, const SequenceBatch& batch, const AttendArgs& args,
              RowIndex where);

/// All rows: writes args.out and args.lse, or args.partial where that is set. Stops early, with
/// the outputs unspecified, once args.stop asks for it.
void attend(const AttentionSpec& spec, const SequenceBatch& batch, const AttendArgs& args);

/// Rotates one row of `dim` elements in place, by the angles of `position`.
void rotate(const RotaryView& rotary, int64_t position, double* row);

/// Writes element (token, head) of the log-sum-exp, in the base, order and habits of the view.
void store_lse(const LseView& view, int64_t token, int64_t head, int64_t total_q, int64_t heads,
               double natural);

}  // namespace attnrt::reference
