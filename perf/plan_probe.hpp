// SPDX-License-Identifier: Apache-2.0
// What planning a case costs, and what asking the mask at every element would.
#pragma once

#include <cstdint>

#include "attnrt/attention.hpp"
#include "perf/case_input.hpp"
#include "perf/noise.hpp"

namespace attnrt::perf {

/// Of one plan.
struct PlanFigures {
  Summary seconds;  // of one make_plan into a plan that has been made before
  int64_t repeats = 0;
  int64_t run_bytes = 0;  // run lists: what the mask adds to a plan
  int64_t bytes = 0;      // run lists, tiles and items
};

/// Plans `input` again and again, as the policy says. Everything that make_plan does counts: the
/// indexes of the mask's tables are made anew each time.
Status measure_plan(const CaseInput& input, const RepeatPolicy& policy, PlanFigures& figures);

/// Bytes of a plan's run lists, and of these with its tiles and items.
void plan_bytes(const Plan& plan, PlanFigures& figures);

/// Median seconds for one element of the mask at `samples` random elements, by the definition of
/// expressions (src/expr/evaluate.hpp), which neither proves nor vectorises anything.
double element_seconds(const CaseInput& input, int64_t samples);

/// Query tokens x keys x heads that the mask tells apart: what there is to evaluate.
double mask_elements(const CaseInput& input);

}  // namespace attnrt::perf
