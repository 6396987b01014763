// SPDX-License-Identifier: Apache-2.0
// The scalar reference of expressions.
#include "src/expr/evaluate.hpp"

#include <algorithm>
#include <cmath>

#include "attnrt/tensor.hpp"

namespace attnrt::expr {
namespace {

int64_t wrap(uint64_t bits) { return static_cast<int64_t>(bits); }
uint64_t unwrap(int64_t value) { return static_cast<uint64_t>(value); }

int64_t floor_divide(int64_t x, int64_t y) {
  if (y == 0) return 0;
  if (y == -1) return wrap(0 - unwrap(x));
  const int64_t quotient = x / y;
  return x % y != 0 && (x < 0) != (y < 0) ? quotient - 1 : quotient;
}

int64_t floor_modulo(int64_t x, int64_t y) {
  if (y == 0 || y == -1) return 0;
  const int64_t remainder = x % y;
  return remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder;
}

int64_t shift_left(int64_t x, int64_t count) {
  return count < 0 || count > 63 ? 0 : wrap(unwrap(x) << count);
}

int64_t shift_right(int64_t x, int64_t count) {
  if (count < 0 || count > 63) return x < 0 ? -1 : 0;
  return x >> count;
}

int64_t integer_operation(Op op, int64_t x, int64_t y) {
  switch (op) {
    case Op::kAdd:
      return wrap(unwrap(x) + unwrap(y));
    case Op::kSub:
      return wrap(unwrap(x) - unwrap(y));
    case Op::kMul:
      return wrap(unwrap(x) * unwrap(y));
    case Op::kNeg:
      return wrap(0 - unwrap(x));
    case Op::kAbs:
      return x < 0 ? wrap(0 - unwrap(x)) : x;
    case Op::kMin:
      return std::min(x, y);
    case Op::kMax:
      return std::max(x, y);
    case Op::kFloorDiv:
      return floor_divide(x, y);
    case Op::kFloorMod:
      return floor_modulo(x, y);
    case Op::kBitAnd:
      return x & y;
    case Op::kBitOr:
      return x | y;
    case Op::kBitXor:
      return x ^ y;
    case Op::kShiftLeft:
      return shift_left(x, y);
    default:
      return shift_right(x, y);
  }
}

template <class T>
bool compare(Op op, T x, T y) {
  switch (op) {
    case Op::kLess:
      return x < y;
    case Op::kLessEqual:
      return x <= y;
    case Op::kEqual:
      return x == y;
    default:
      return x != y;
  }
}

bool is_comparison(Op op) {
  return op == Op::kLess || op == Op::kLessEqual || op == Op::kEqual || op == Op::kNotEqual;
}

bool predicate_operation(Op op, bool x, bool y) {
  switch (op) {
    case Op::kAnd:
      return x && y;
    case Op::kOr:
      return x || y;
    case Op::kXor:
      return x != y;
    default:
      return !x;
  }
}

// Exact for the operations that are rounded once: the products and quotients of floats, rounded
// to double and then to float, are what rounding to float at once gives.
double float_operation(Op op, double x, double y) {
  switch (op) {
    case Op::kAdd:
      return x + y;
    case Op::kSub:
      return x - y;
    case Op::kMul:
      return x * y;
    case Op::kDiv:
      return x / y;
    case Op::kNeg:
      return -x;
    case Op::kAbs:
      return std::fabs(x);
    case Op::kMin:
      return x < y ? x : y;
    case Op::kMax:
      return x > y ? x : y;
    case Op::kSqrt:
      return std::sqrt(x);
    case Op::kPow:
      return std::pow(x, y);
    default:
      return 0.0;
  }
}

double float_function(Op op, double x) {
  switch (op) {
    case Op::kExp:
      return std::exp(x);
    case Op::kExp2:
      return std::exp2(x);
    case Op::kLog:
      return std::log(x);
    case Op::kLog1p:
      return std::log1p(x);
    case Op::kTanh:
      return std::tanh(x);
    case Op::kSigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case Op::kErf:
      return std::erf(x);
    case Op::kRsqrt:
      return 1.0 / std::sqrt(x);
    case Op::kSin:
      return std::sin(x);
    default:
      return std::cos(x);
  }
}

bool is_function(Op op) { return op >= Op::kExp && op <= Op::kCos && op != Op::kSqrt; }

// The element at `offset` as a number; predicates are 0 or 1.
double element(const BoundSlot& slot, int64_t offset) {
  switch (slot.element) {
    case ElementType::kI32:
      return static_cast<const int32_t*>(slot.data)[offset];
    case ElementType::kI8:
      return static_cast<const int8_t*>(slot.data)[offset];
    case ElementType::kBool:
      return static_cast<const uint8_t*>(slot.data)[offset] != 0 ? 1.0 : 0.0;
    case ElementType::kF32:
      return static_cast<double>(static_cast<const float*>(slot.data)[offset]);
    case ElementType::kBF16:
      break;
  }
  return static_cast<double>(bf16_to_f32(static_cast<const uint16_t*>(slot.data)[offset]));
}

int64_t clamped(const BoundSlot& slot, size_t dimension, int64_t index) {
  return std::clamp<int64_t>(index, 0, slot.shape[dimension] - 1) * slot.strides[dimension];
}

}  // namespace

Status Evaluator::create(const Expr& expression, std::span<const SlotValue> values,
                         Evaluator& evaluator, Precision precision) {
  if (!expression.valid()) return Status(Code::kInvalidArgument, expression.error());
  Evaluator made;
  made.expression_ = expression;
  made.precision_ = precision;
  made.add(expression.node());
  if (Status status = bind_slots(made.slots_, values, made.bindings_); !status.ok()) return status;
  made.values_.resize(made.steps_.size());
  evaluator = std::move(made);
  return {};
}

// Its own order and its own list of slots: a mistake of the compiler cannot hide here.
void Evaluator::add(const NodePtr& node) {
  const auto known = [&](const NodePtr& x) {
    return static_cast<size_t>(std::ranges::find(steps_, x, &Step::node) - steps_.begin());
  };
  if (known(node) < steps_.size()) return;
  Step step{.node = node};
  for (size_t i = 0; i < node->num_operands; ++i) {
    add(node->operands[i]);
    step.operands[i] = known(node->operands[i]);
  }
  if (!node->slot.name.empty()) {
    step.slot = static_cast<size_t>(std::ranges::find(slots_, node->slot) - slots_.begin());
    if (step.slot == slots_.size()) slots_.push_back(node->slot);
  }
  steps_.push_back(step);
}

double Evaluator::rounded(double value) const {
  return precision_ == Precision::kSingle ? static_cast<double>(static_cast<float>(value)) : value;
}

const Evaluator::Value& Evaluator::run(const Point& point) {
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    if (step.node->op == Op::kLoad) {
      values_[i] = load(step);
    } else if (step.node->op == Op::kDot) {
      values_[i] = dot(step, point);
    } else if (step.node->num_operands == 0) {
      values_[i] = leaf(step, point);
    } else {
      values_[i] = apply(step);
    }
  }
  return values_.back();
}

bool Evaluator::predicate(const Point& point) { return run(point).i != 0; }
int64_t Evaluator::integer(const Point& point) { return run(point).i; }
double Evaluator::real(const Point& point) { return run(point).f; }

Evaluator::Value Evaluator::leaf(const Step& step, const Point& point) const {
  switch (step.node->op) {
    case Op::kQ:
      return {.i = point.q};
    case Op::kKv:
      return {.i = point.kv};
    case Op::kB:
      return {.i = point.b};
    case Op::kH:
      return {.i = point.h};
    case Op::kHkv:
      return {.i = point.hkv};
    case Op::kQLen:
      return {.i = point.q_len};
    case Op::kKvLen:
      return {.i = point.kv_len};
    case Op::kScore:
      return {.f = rounded(point.score)};
    case Op::kLiteral:
      return {.i = step.node->literal.i, .f = static_cast<double>(step.node->literal.f)};
    case Op::kParam: {
      const BoundSlot& slot = bindings_.slots[step.slot];
      return {.i = slot.int_value, .f = static_cast<double>(slot.float_value)};
    }
    default:
      return {};  // kRows: read by dot
  }
}

Evaluator::Value Evaluator::load(const Step& step) const {
  const BoundSlot& slot = bindings_.slots[step.slot];
  int64_t offset = 0;
  for (size_t i = 0; i < step.node->num_operands; ++i) {
    offset += clamped(slot, i, values_[step.operands[i]].i);
  }
  const double value = element(slot, offset);
  if (step.node->type == Type::kFloat) return {.f = value};
  return {.i = static_cast<int64_t>(value)};
}

Evaluator::Value Evaluator::dot(const Step& step, const Point& point) const {
  const BoundSlot& q_side = bindings_.slots[steps_[step.operands[0]].slot];
  const BoundSlot& kv_side = bindings_.slots[steps_[step.operands[1]].slot];
  const auto row = [&](const BoundSlot& slot, int64_t head, int64_t position) {
    const int64_t index[] = {point.b, head, position};
    const auto leading = static_cast<size_t>(slot.rank - 1);
    int64_t offset = 0;
    for (size_t i = 0; i < leading; ++i) offset += clamped(slot, i, index[3 - leading + i]);
    return offset;
  };
  const int64_t q_row = row(q_side, point.h, point.q);
  const int64_t kv_row = row(kv_side, point.hkv, point.kv);
  const auto q_last = static_cast<size_t>(q_side.rank - 1);
  const auto kv_last = static_cast<size_t>(kv_side.rank - 1);
  const int64_t length = std::min(q_side.shape[q_last], kv_side.shape[kv_last]);
  double sum = 0.0;
  for (int64_t d = 0; d < length; ++d) {
    sum += element(q_side, q_row + d * q_side.strides[q_last]) *
           element(kv_side, kv_row + d * kv_side.strides[kv_last]);
  }
  return {.f = rounded(sum)};
}

Evaluator::Value Evaluator::apply(const Step& step) const {
  const Node& node = *step.node;
  const Value& x = values_[step.operands[0]];
  const Value& y = values_[step.operands[1]];
  const Value& z = values_[step.operands[2]];
  if (node.op == Op::kSelect) return x.i != 0 ? y : z;
  if (node.op == Op::kToFloat) {
    if (precision_ == Precision::kDouble) return {.f = static_cast<double>(x.i)};
    return {.f = static_cast<double>(static_cast<float>(x.i))};
  }
  if (is_comparison(node.op)) {
    const bool ints = node.operands[0]->type == Type::kInt;
    return {.i = ints ? compare(node.op, x.i, y.i) : compare(node.op, x.f, y.f)};
  }
  if (node.type == Type::kInt) return {.i = integer_operation(node.op, x.i, y.i)};
  if (node.type == Type::kPredicate) {
    return {.i = predicate_operation(node.op, x.i != 0, y.i != 0)};
  }
  if (is_function(node.op)) return {.f = rounded(float_function(node.op, x.f))};
  if (node.op != Op::kFma) return {.f = rounded(float_operation(node.op, x.f, y.f))};
  if (precision_ == Precision::kDouble) return {.f = std::fma(x.f, y.f, z.f)};
  const float once =
      std::fma(static_cast<float>(x.f), static_cast<float>(y.f), static_cast<float>(z.f));
  return {.f = static_cast<double>(once)};
}

}  // namespace attnrt::expr
