// SPDX-License-Identifier: Apache-2.0
// How the tiles of a plan are cut along their keys.
#pragma once

#include "src/plan_data.hpp"

namespace attnrt {

/// Writes the items of the plan, largest first, and what its tiles keep of them: how many they are,
/// merge counters and partial slots.
void plan_items(PlanData& plan);

}  // namespace attnrt
