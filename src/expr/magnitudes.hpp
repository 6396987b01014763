// SPDX-License-Identifier: Apache-2.0
// How large integers of a program can become, whatever is bound.
#pragma once

#include <vector>

#include "src/expr/program.hpp"

namespace attnrt::expr {

/// The largest absolute value of each integer node over all positions, lengths, parameters and
/// tables that can be bound; 2^63 where it could wrap.
std::vector<double> magnitudes(const ProgramData& program);

}  // namespace attnrt::expr
