// SPDX-License-Identifier: Apache-2.0
#include "src/expr/range_index.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>

namespace attnrt::testing {
namespace {

using expr::AbstractValue;
using expr::BoundSlot;
using expr::ElementType;
using expr::IndexRange;
using expr::RangeIndex;

BoundSlot slot_of(ElementType element, const void* data, std::vector<int64_t> shape,
                  std::vector<int64_t> strides) {
  BoundSlot slot;
  slot.kind = expr::SlotKind::kBuffer;
  slot.element = element;
  slot.data = data;
  slot.rank = static_cast<int32_t>(shape.size());
  std::ranges::copy(shape, slot.shape.begin());
  std::ranges::copy(strides, slot.strides.begin());
  return slot;
}

AbstractValue query(const RangeIndex& index, std::vector<IndexRange> range) {
  AbstractValue out;
  index.query(range, out);
  return out;
}

}  // namespace

TEST_CASE("every range of a table, sorted or not, ascending or descending") {
  std::mt19937 random(3);
  for (const int kind : {0, 1, 2}) {
    std::vector<int32_t> table(333);
    for (int32_t& x : table) x = static_cast<int32_t>(random() % 1000) - 500;
    if (kind == 1) std::ranges::sort(table);
    if (kind == 2) std::ranges::sort(table, std::greater<>());
    const RangeIndex index(slot_of(ElementType::kI32, table.data(), {333}, {1}));
    CHECK((index.memory_bytes() == 0) == (kind != 0));
    int64_t wrong = 0;
    for (int64_t low = 0; low < 333; low += 3) {
      for (int64_t high = low; high < 333; high += 2) {
        const auto [least, most] =
            std::minmax_element(table.begin() + low, table.begin() + high + 1);
        const AbstractValue found = query(index, {{low, high}});
        wrong += found.low != *least || found.high != *most ? 1 : 0;
      }
    }
    CHECK(wrong == 0);
    // Indices are clamped.
    CHECK(query(index, {{-50, -3}}).low == table.front());
    CHECK(query(index, {{400, 500}}).high == table.back());
  }
}

TEST_CASE("boxes of buffers with strides, and lines that repeat") {
  std::vector<int8_t> table(6 * 200 * 2);
  std::mt19937 random(4);
  for (int8_t& x : table) x = static_cast<int8_t>(random());
  // [3, 2, 200] with a step of 2 along the last dimension; the second dimension repeats.
  const RangeIndex index(slot_of(ElementType::kI8, table.data(), {3, 2, 200}, {400, 0, 2}));
  for (int64_t first = 0; first < 3; ++first) {
    for (int64_t low = 0; low < 200; low += 7) {
      for (int64_t high = low; high < 200; high += 5) {
        int32_t least = 127;
        int32_t most = -128;
        for (int64_t i = first; i < 3; ++i) {
          for (int64_t j = low; j <= high; ++j) {
            least = std::min<int32_t>(least, table[static_cast<size_t>(i * 400 + j * 2)]);
            most = std::max<int32_t>(most, table[static_cast<size_t>(i * 400 + j * 2)]);
          }
        }
        const AbstractValue found = query(index, {{first, 2}, {0, 1}, {low, high}});
        REQUIRE(found.low == least);
        REQUIRE(found.high == most);
      }
    }
  }
}

TEST_CASE("numbers that no float holds are rounded outwards, never inwards") {
  std::vector<int32_t> table(256, 16'777'217);  // 2^24 + 1
  table[100] = 2'147'483'647;
  table[30] = -2'147'483'647;
  const RangeIndex index(slot_of(ElementType::kI32, table.data(), {256}, {1}));
  for (int64_t low = 0; low < 256; low += 64) {
    const AbstractValue found = query(index, {{low, 255}});
    CHECK(found.low <= *std::min_element(table.begin() + low, table.end()));
    CHECK(found.high >= *std::max_element(table.begin() + low, table.end()));
  }
}

TEST_CASE("predicates and floats with NaN") {
  std::vector<uint8_t> flags(300);
  flags[150] = 3;
  const RangeIndex some(slot_of(ElementType::kBool, flags.data(), {300}, {1}));
  CHECK(query(some, {{0, 149}}).truth == expr::kCanBeFalse);
  CHECK(query(some, {{150, 150}}).truth == expr::kCanBeTrue);
  CHECK(query(some, {{0, 299}}).truth == expr::kUndecided);
  std::vector<float> floats(300, 1.5f);
  floats[200] = std::numeric_limits<float>::quiet_NaN();
  const RangeIndex nan(slot_of(ElementType::kF32, floats.data(), {300}, {1}));
  CHECK(query(nan, {{0, 299}}).nan);
  CHECK(query(nan, {{0, 299}}).float_high == 1.5f);
  CHECK(query(nan, {{200, 200}}).nan);
  floats[200] = 1.5f;
  CHECK_FALSE(
      query(RangeIndex(slot_of(ElementType::kF32, floats.data(), {300}, {1})), {{0, 9}}).nan);
}

}  // namespace attnrt::testing
