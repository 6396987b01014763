// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/expr_slots.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "src/expr/slot_bytes.hpp"

namespace attnrt::cuda {
namespace {

using expr::BoundSlot;

constexpr size_t kAlign = 16;
constexpr size_t kRank = 4;

// A table without gaps. Dimensions that repeat (stride 0) are kept once; those that the table does
// not have come first, with one element.
struct Dense {
  std::array<int64_t, kRank> count{1, 1, 1, 1};
  std::array<int64_t, kRank> from{};  // strides
  std::array<int64_t, kRank> to{};
  size_t bytes = 0;
};

Dense dense(const BoundSlot& slot) {
  Dense made;
  const auto rank = static_cast<size_t>(slot.rank);
  int64_t elements = 1;
  for (size_t i = rank; i-- > 0;) {
    const size_t at = kRank - rank + i;
    made.from[at] = slot.strides[i];
    if (slot.strides[i] == 0) continue;
    made.count[at] = slot.shape[i];
    made.to[at] = elements;
    elements *= slot.shape[i];
  }
  made.bytes = static_cast<size_t>(elements) * expr::element_bytes(slot.element);
  return made;
}

size_t aligned(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

void copy_table(const BoundSlot& slot, const Dense& to, std::byte* target) {
  const auto size = static_cast<int64_t>(expr::element_bytes(slot.element));
  const auto* source = static_cast<const std::byte*>(slot.data);
  const auto& n = to.count;
  for (int64_t a = 0; a < n[0]; ++a) {
    for (int64_t b = 0; b < n[1]; ++b) {
      for (int64_t c = 0; c < n[2]; ++c) {
        const std::byte* row = source + (a * to.from[0] + b * to.from[1] + c * to.from[2]) * size;
        std::byte* out = target + (a * to.to[0] + b * to.to[1] + c * to.to[2]) * size;
        if (to.from[3] == 1 || n[3] == 1) {
          std::memcpy(out, row, static_cast<size_t>(n[3] * size));
          continue;
        }
        for (int64_t d = 0; d < n[3]; ++d) {
          std::memcpy(out + d * size, row + d * to.from[3] * size, static_cast<size_t>(size));
        }
      }
    }
  }
}

DeviceSlot with_values(const BoundSlot& slot) {
  DeviceSlot made{};
  made.data = slot.data;
  made.int_value = slot.int_value;
  made.float_value = slot.float_value;
  for (size_t i = 0; i < kRank; ++i) {
    made.shape[i] = slot.shape[i];
    made.strides[i] = slot.strides[i];
  }
  return made;
}

}  // namespace

size_t table_bytes(std::span<const BoundSlot> slots) noexcept {
  size_t bytes = 0;
  for (const BoundSlot& slot : slots) {
    if (slot.data != nullptr) bytes += aligned(dense(slot).bytes);
  }
  return bytes;
}

void write_tables(std::span<const BoundSlot> slots, std::byte* to) noexcept {
  for (const BoundSlot& slot : slots) {
    if (slot.data == nullptr) continue;
    const Dense table = dense(slot);
    copy_table(slot, table, to);
    to += aligned(table.bytes);
  }
}

void copied_slots(std::span<const BoundSlot> slots, const std::byte* tables,
                  DeviceSlot* to) noexcept {
  for (const BoundSlot& slot : slots) {
    DeviceSlot& made = *to++ = with_values(slot);
    if (slot.data == nullptr) continue;
    const Dense table = dense(slot);
    made.data = tables;
    tables += aligned(table.bytes);
    const auto rank = static_cast<size_t>(slot.rank);
    for (size_t i = 0; i < rank; ++i) made.strides[i] = table.to[kRank - rank + i];
  }
}

void device_slots(std::span<const BoundSlot> slots, DeviceSlot* to) noexcept {
  std::ranges::transform(slots, to, with_values);
}

}  // namespace attnrt::cuda
