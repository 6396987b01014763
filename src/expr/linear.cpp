// SPDX-License-Identifier: Apache-2.0
// Linear forms of integer nodes in q, kv and one parameter.
#include <cstdlib>

#include "src/expr/recognise.hpp"

namespace attnrt::expr {
namespace {

// With |coefficients| <= 2^8, |constant| <= 2^56, positions below 2^31 and parameters up to 2^40,
// every value stays below 2^57 + 2^48 + 2^40.
constexpr int64_t kMaxCoefficient = 1 << 8;
constexpr int64_t kMaxConstant = int64_t{1} << 56;

std::optional<Linear> checked(Linear x) {
  if (x.sign == 0) x.slot = -1;
  const bool small = std::abs(x.q) <= kMaxCoefficient && std::abs(x.kv) <= kMaxCoefficient &&
                     std::abs(x.sign) <= kMaxCoefficient && std::abs(x.constant) <= kMaxConstant;
  return small ? std::optional<Linear>(x) : std::nullopt;
}

std::optional<Linear> add(const Linear& x, const Linear& y, int64_t factor) {
  if (x.slot >= 0 && y.slot >= 0 && x.slot != y.slot) return {};
  return checked({.q = x.q + factor * y.q,
                  .kv = x.kv + factor * y.kv,
                  .constant = x.constant + factor * y.constant,
                  .slot = x.slot >= 0 ? x.slot : y.slot,
                  .sign = x.sign + factor * y.sign});
}

bool is_constant(const Linear& x) { return x.q == 0 && x.kv == 0 && x.slot < 0; }

std::optional<Linear> multiply(const Linear& x, const Linear& y) {
  if (!is_constant(y)) return is_constant(x) ? multiply(y, x) : std::nullopt;
  if (std::abs(y.constant) > kMaxCoefficient) {
    return is_constant(x) && x.constant == 0 ? std::optional<Linear>(x) : std::nullopt;
  }
  if (std::abs(x.constant) > kMaxConstant / kMaxCoefficient) return {};
  return add({}, x, y.constant);
}

}  // namespace

std::vector<std::optional<Linear>> linear_forms(const ProgramData& program) {
  std::vector<std::optional<Linear>> forms(program.nodes.size());
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    const ProgramNode& node = program.nodes[i];
    if (node.type != Type::kInt) continue;
    const auto operand = [&](int k) -> const std::optional<Linear>& {
      return forms[static_cast<size_t>(node.operands[static_cast<size_t>(k)])];
    };
    const bool binary = node.op == Op::kAdd || node.op == Op::kSub || node.op == Op::kMul;
    if (binary && (!operand(0) || !operand(1))) continue;
    if (node.op == Op::kQ) forms[i] = Linear{.q = 1};
    if (node.op == Op::kKv) forms[i] = Linear{.kv = 1};
    if (node.op == Op::kLiteral) forms[i] = checked({.constant = node.literal.i});
    if (node.op == Op::kParam) forms[i] = Linear{.slot = node.slot, .sign = 1};
    if (node.op == Op::kAdd) forms[i] = add(*operand(0), *operand(1), 1);
    if (node.op == Op::kSub) forms[i] = add(*operand(0), *operand(1), -1);
    if (node.op == Op::kMul) forms[i] = multiply(*operand(0), *operand(1));
    if (node.op == Op::kNeg && operand(0)) forms[i] = add({}, *operand(0), -1);
  }
  return forms;
}

}  // namespace attnrt::expr
