// SPDX-License-Identifier: Apache-2.0
// Values of slots: found by name, checked, and refused by name.
#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "src/expr/program.hpp"

namespace attnrt::expr {
namespace {

using enum ElementType;

const std::vector<Slot> kSlots = {
    {.name = "w"},
    {.name = "cap", .kind = SlotKind::kFloat},
    {.name = "doc", .kind = SlotKind::kBuffer, .element = kI32, .rank = 1, .sorted = true},
    {.name = "bias", .kind = SlotKind::kBuffer, .element = kF32, .rank = 3},
};

const int32_t kDoc[] = {0, 0, 3, 3, 9};
const float kBias[24] = {};

std::vector<SlotValue> good() {
  return {buffer_value("bias", kF32, kBias, {2, 3, 4}), int_value("unused", 1),
          buffer_value("doc", kI32, kDoc, {5}), float_value("cap", 2.5f), int_value("w", 7)};
}

TEST_CASE("values come in the order of the slots") {
  Bindings bindings;
  REQUIRE(bind_slots(kSlots, good(), bindings).ok());
  REQUIRE(bindings.slots.size() == 4);
  CHECK(bindings.slots[0].int_value == 7);
  CHECK(bindings.slots[1].float_value == 2.5f);
  CHECK(bindings.slots[2].data == kDoc);
  CHECK(bindings.slots[3].shape == std::array<int64_t, 4>{2, 3, 4, 0});
  CHECK(bindings.slots[3].strides == std::array<int64_t, 4>{12, 4, 1, 0});
}

TEST_CASE("what does not fit is refused by the slot's name") {
  using Values = std::vector<SlotValue>;
  struct Row {
    std::function<void(Values&)> spoil;
    const char* message;
  };
  static const int32_t unsorted[] = {0, 2, 1};
  const Row rows[] = {
      {[](Values& v) { v.pop_back(); }, "slot 'w' has no value"},
      {[](Values& v) { v[4] = float_value("w", 1.0f); },
       "slot 'w' is a float, the expression uses an integer"},
      {[](Values& v) { v[3] = int_value("cap", 1); },
       "slot 'cap' is an integer, the expression uses a float"},
      {[](Values& v) { v[2] = int_value("doc", 1); },
       "slot 'doc' is an integer, the expression uses a buffer"},
      {[](Values& v) { v[4] = int_value("w", kMaxInt + 1); },
       "slot 'w' is 1099511627777, beyond 2^40"},
      {[](Values& v) { v[2].element = kI8; },
       "slot 'doc' has elements of i8, the expression reads i32"},
      {[](Values& v) {
         v[0] = buffer_value("bias", kF32, kBias, {6, 4});
       },
       "slot 'bias' has rank 2, the expression indexes 3"},
      {[](Values& v) {
         v[0] = buffer_value("bias", kF32, kBias, {1, 1, 2, 3, 4});
       },
       "slot 'bias' has rank 5, the expression indexes 3"},
      {[](Values& v) { v[0].data = nullptr; }, "slot 'bias' has no data"},
      {[](Values& v) { v[0].shape[1] = 0; }, "slot 'bias': shape[1] is 0"},
      {[](Values& v) { v[0].strides[2] = -1; }, "slot 'bias': strides[2] is -1"},
      {[](Values& v) { v[2] = buffer_value("doc", kI32, unsorted, {3}); },
       "slot 'doc' is declared sorted and is not: element 2 is less than the one before, or a NaN"},
  };
  for (const Row& row : rows) {
    Values values = good();
    row.spoil(values);
    Bindings bindings;
    const Status status = bind_slots(kSlots, values, bindings);
    CHECK(status.code() == Code::kInvalidArgument);
    CHECK(status.message() == row.message);
  }
}

TEST_CASE("order is checked along the stride and by value") {
  const auto sorted = [](ElementType element, const void* data, int64_t length, int64_t stride) {
    const std::vector<Slot> slots = {
        {.name = "t", .kind = SlotKind::kBuffer, .element = element, .rank = 1, .sorted = true}};
    SlotValue value = buffer_value("t", element, data, {length});
    value.strides[0] = stride;
    Bindings bindings;
    return bind_slots(slots, {&value, 1}, bindings).ok();
  };
  const int32_t interleaved[] = {1, 9, 2, 0, 3, 5};
  CHECK(sorted(kI32, interleaved, 3, 2));
  CHECK_FALSE(sorted(kI32, interleaved, 6, 1));
  CHECK(sorted(kI32, interleaved, 6, 0));
  const int8_t bytes[] = {-1, 0, 1};
  CHECK(sorted(kI8, bytes, 3, 1));
  CHECK_FALSE(sorted(kBool, bytes, 3, 1));  // as bits 255, 0, 1
  const float floats[] = {-2.0f, -1.0f, 1.0f, 0.5f};
  CHECK(sorted(kF32, floats, 3, 1));
  CHECK_FALSE(sorted(kF32, floats, 4, 1));
  const uint16_t halves[] = {0xc000, 0xbf80, 0x3f80};  // -2, -1, 1
  CHECK(sorted(kBF16, halves, 3, 1));
  const uint16_t falling[] = {0xbf80, 0xc000};  // -1, -2: ascending as bits only
  CHECK_FALSE(sorted(kBF16, falling, 2, 1));
  // A NaN would hide the step down behind it: planning asks the ends of a range only.
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float holes[] = {1.0f, nan, -9.0f, nan, 3.0f};
  CHECK_FALSE(sorted(kF32, holes, 5, 1));
  const uint16_t half_holes[] = {0x3f80, 0x7fc0, 0xc000, 0x7fc0, 0x4000};
  CHECK_FALSE(sorted(kBF16, half_holes, 5, 1));
}

}  // namespace
}  // namespace attnrt::expr
