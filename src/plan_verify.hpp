// SPDX-License-Identifier: Apache-2.0
// Checks the proofs that a plan rests on, element by element.
#pragma once

#include "src/plan_data.hpp"

namespace attnrt {

/// Evaluates the mask by its definition at every element within the windows that the plan has
/// declared seen or unseen. Errors: Internal, naming the first element that is not.
Status verify_mask(const PlanData& plan);

}  // namespace attnrt
