// SPDX-License-Identifier: Apache-2.0
// Finds the closed forms in a program, so that common masks and scores run on built-in options.
#pragma once

#include <optional>
#include <vector>

#include "attnrt/status.hpp"
#include "src/expr/program.hpp"

namespace attnrt::expr {

/// q * q() + kv * kv() + constant + sign * parameter. Coefficients are kept so small that no value
/// of lengths and parameters can make any step of the node's evaluation wrap.
struct Linear {
  int64_t q = 0;
  int64_t kv = 0;
  int64_t constant = 0;
  int32_t slot = -1;
  int64_t sign = 0;
};

/// For each node, its linear form if it has one.
std::vector<std::optional<Linear>> linear_forms(const ProgramData& program);

MaskForm recognise_mask(const ProgramData& program);

/// The same for a part of a mask: a predicate of the program.
MaskForm recognise_part(const ProgramData& program, int32_t node);

/// Fills in score_form and dots. Errors: a dot that is not added to the raw score.
Status recognise_score(ProgramData& program);

}  // namespace attnrt::expr
