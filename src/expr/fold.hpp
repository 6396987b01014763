// SPDX-License-Identifier: Apache-2.0
// Nodes whose value or shape is known from literal operands. Only what keeps programs short and
// negative literals readable; every rule is exact, NaN and wrap-around included.
#pragma once

#include "src/expr/graph.hpp"

namespace attnrt::expr {

/// The node (op, operands), or an equal one that is simpler.
NodePtr fold(Op op, Type type, std::initializer_list<NodePtr> operands);

}  // namespace attnrt::expr
