// SPDX-License-Identifier: Apache-2.0
#include "src/expr/magnitudes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/expr/abstract_value.hpp"

namespace attnrt::expr {
namespace {

AbstractValue anything(const ProgramNode& node) {
  constexpr int64_t kMax32 = std::numeric_limits<int32_t>::max();
  switch (node.op) {
    case Op::kLiteral:
      return int_range(node.literal.i, node.literal.i);
    case Op::kParam:
      return int_range(-kMaxInt, kMaxInt);
    case Op::kLoad:
      return int_range(-kMax32 - 1, kMax32);
    default:
      return int_range(0, kMax32);
  }
}

}  // namespace

std::vector<double> magnitudes(const ProgramData& program) {
  std::vector<AbstractValue> value(program.nodes.size());
  std::vector<double> out(program.nodes.size());
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    const ProgramNode& node = program.nodes[i];
    if (node.type != Type::kInt) continue;
    const auto input = [&](size_t n) -> const AbstractValue& {
      return value[static_cast<size_t>(std::max(0, node.operands[n]))];
    };
    if (node.op == Op::kSelect) {
      value[i] = join(Type::kInt, input(1), input(2));
    } else if (node.num_operands == 0 || node.op == Op::kLoad) {
      value[i] = anything(node);
    } else {
      abstract_int(node.op, input(0), input(1), false, value[i]);
    }
    out[i] = std::max(std::abs(static_cast<double>(value[i].low)),
                      std::abs(static_cast<double>(value[i].high)));
  }
  return out;
}

}  // namespace attnrt::expr
