// SPDX-License-Identifier: Apache-2.0
// Values of slots, checked against what a program asks for.
#include <algorithm>
#include <bit>
#include <string>

#include "attnrt/tensor.hpp"
#include "src/expr/program.hpp"

namespace attnrt::expr {
namespace {

std::string quote(const Slot& slot) { return "slot '" + slot.name + "'"; }

Status error(const Slot& slot, const std::string& what) {
  return Status(Code::kInvalidArgument, quote(slot) + what);
}

std::string describe(SlotKind kind) {
  if (kind == SlotKind::kBuffer) return "a buffer";
  return kind == SlotKind::kInt ? "an integer" : "a float";
}

// The first element that is not at least the one before it; -1: there is none. NaN is in no order,
// so each step is asked whether it is one up.
template <class T, class Widen>
int64_t first_descent(const BoundSlot& slot, const Widen& widen) {
  const T* data = static_cast<const T*>(slot.data);
  for (int64_t i = 1; i < slot.shape[0]; ++i) {
    if (!(widen(data[(i - 1) * slot.strides[0]]) <= widen(data[i * slot.strides[0]]))) return i;
  }
  return -1;
}

int64_t first_descent(const BoundSlot& slot) {
  const auto as_it_is = [](auto x) { return x; };
  switch (slot.element) {
    case ElementType::kI32:
      return first_descent<int32_t>(slot, as_it_is);
    case ElementType::kI8:
      return first_descent<int8_t>(slot, as_it_is);
    case ElementType::kBool:
      return first_descent<uint8_t>(slot, as_it_is);
    case ElementType::kF32:
      return first_descent<float>(slot, as_it_is);
    case ElementType::kBF16:
      break;
  }
  return first_descent<uint16_t>(slot, bf16_to_f32);
}

Status bind_buffer(const Slot& slot, const SlotValue& value, CheckOrder check_order,
                   BoundSlot& bound) {
  if (value.element != slot.element) {
    return error(slot, std::string(" has elements of ") + to_string(value.element) +
                           ", the expression reads " + to_string(slot.element));
  }
  if (value.rank != slot.rank) {
    return error(slot, " has rank " + std::to_string(value.rank) + ", the expression indexes " +
                           std::to_string(slot.rank));
  }
  if (value.data == nullptr) return error(slot, " has no data");
  for (int32_t i = 0; i < slot.rank; ++i) {
    const auto dimension = static_cast<size_t>(i);
    const std::string where = std::string("[") + std::to_string(i) + "] is ";
    if (value.shape[dimension] < 1) {
      return error(slot, ": shape" + where + std::to_string(value.shape[dimension]));
    }
    if (value.strides[dimension] < 0) {
      return error(slot, ": strides" + where + std::to_string(value.strides[dimension]));
    }
  }
  bound.data = value.data;
  bound.rank = value.rank;
  bound.shape = value.shape;
  bound.strides = value.strides;
  return slot.sorted && check_order == CheckOrder::kYes ? check_sorted(slot, bound) : Status();
}

}  // namespace

Status check_sorted(const Slot& slot, const BoundSlot& bound) {
  const int64_t at = first_descent(bound);
  if (at < 0) return {};
  return error(slot, " is declared sorted and is not: element " + std::to_string(at) +
                         " is less than the one before, or a NaN");
}

bool Bindings::operator==(const Bindings& other) const {
  return std::ranges::equal(slots, other.slots, [](const BoundSlot& x, const BoundSlot& y) {
    return x.kind == y.kind && x.element == y.element && x.int_value == y.int_value &&
           std::bit_cast<uint32_t>(x.float_value) == std::bit_cast<uint32_t>(y.float_value) &&
           x.data == y.data && x.rank == y.rank && x.shape == y.shape && x.strides == y.strides;
  });
}

Status bind_slots(std::span<const Slot> slots, std::span<const SlotValue> values,
                  Bindings& bindings, CheckOrder check_order) {
  bindings.slots.assign(slots.size(), {});
  for (size_t i = 0; i < slots.size(); ++i) {
    const Slot& slot = slots[i];
    const auto value = std::ranges::find(values, std::string_view(slot.name), &SlotValue::name);
    if (value == values.end()) return error(slot, " has no value");
    if (value->kind != slot.kind) {
      return error(slot,
                   " is " + describe(value->kind) + ", the expression uses " + describe(slot.kind));
    }
    BoundSlot& bound = bindings.slots[i];
    bound.kind = slot.kind;
    bound.element = slot.element;
    bound.float_value = value->float_value;
    bound.int_value = value->int_value;
    if (slot.kind == SlotKind::kInt && (bound.int_value < -kMaxInt || bound.int_value > kMaxInt)) {
      return error(slot, " is " + std::to_string(bound.int_value) + ", beyond 2^40");
    }
    if (slot.kind != SlotKind::kBuffer) continue;
    if (Status status = bind_buffer(slot, *value, check_order, bound); !status.ok()) return status;
  }
  return {};
}

SlotValue int_value(std::string_view name, int64_t value) {
  SlotValue made;
  made.name = name;
  made.int_value = value;
  return made;
}

SlotValue float_value(std::string_view name, float value) {
  SlotValue made;
  made.name = name;
  made.kind = SlotKind::kFloat;
  made.float_value = value;
  return made;
}

SlotValue buffer_value(std::string_view name, ElementType element, const void* data,
                       std::initializer_list<int64_t> shape) {
  SlotValue made;
  made.name = name;
  made.kind = SlotKind::kBuffer;
  made.element = element;
  made.data = data;
  made.rank = static_cast<int32_t>(shape.size());
  if (shape.size() > made.shape.size()) return made;
  std::ranges::copy(shape, made.shape.begin());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    made.strides[i] = stride;
    stride *= made.shape[i];
  }
  return made;
}

}  // namespace attnrt::expr
