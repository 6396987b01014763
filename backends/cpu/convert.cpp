// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/convert.hpp"

#include <algorithm>
#include <cstring>

#include "backends/cpu/packed16_place.hpp"

namespace attnrt::cpu {
namespace {

// A multiple of all that packed16 keeps together, and tens of KB of K and V.
constexpr int64_t kSlotsPerUnit = 64;

bool grouped(const KvView& kv) { return kv.layout == KvLayout::kPacked16; }

// K or V of a cache with rows.
struct RowHalf {
  std::byte* data;
  const KvStrides& strides;
  int32_t page_size;
  int64_t element;

  RowHalf(const KvView& kv, bool v)
      : data(static_cast<std::byte*>(v ? kv.v : kv.k)),
        strides(v ? kv.v_strides : kv.k_strides),
        page_size(kv.page_size),
        element(size_of(kv.dtype)) {}

  [[nodiscard]] std::byte* row(int64_t slot, int64_t head) const {
    return data + (slot / page_size * strides.page + slot % page_size * strides.token +
                   head * strides.head) *
                      element;
  }
};

// Slots [begin, end) of one page.
struct Slots {
  int64_t begin, end;
};

void copy_rows(const RowHalf& from, const RowHalf& to, Slots slots, int64_t head, int64_t bytes) {
  for (int64_t slot = slots.begin; slot < slots.end; ++slot) {
    std::memcpy(to.row(slot, head), from.row(slot, head), static_cast<size_t>(bytes));
  }
}

// Slots of a unit stand together in both.
void copy_groups(const Packed16Half& from, const Packed16Half& to, Slots slots, int64_t head) {
  const int64_t bytes = (slots.end - slots.begin) * to.columns * size_of(to.dtype);
  std::memcpy(to.group(slots.begin, head), from.group(slots.begin, head),
              static_cast<size_t>(bytes));
}

void pack(const KernelTable& table, const RowHalf& from, const Packed16Half& to, Slots slots,
          int64_t head, std::byte* scratch) {
  const int64_t row_bytes = to.columns * size_of(to.dtype);
  const auto bytes = static_cast<size_t>(to.dim * size_of(to.dtype));
  const void* rows[kPacked16Keys];
  GroupTask task{};
  task.dtype = to.dtype;
  task.is_v = to.is_v;
  task.columns = to.columns;
  task.v_keys = to.v_keys;
  task.rows = rows;
  task.count = kPacked16Keys;
  for (int64_t slot = slots.begin; slot < slots.end; slot += kPacked16Keys) {
    for (int64_t i = 0; i < kPacked16Keys; ++i) {
      rows[i] = from.row(slot + i, head);
      if (to.dim == to.columns) continue;
      std::byte* padded = scratch + i * row_bytes;
      std::memcpy(padded, rows[i], bytes);
      std::memset(padded + bytes, 0, static_cast<size_t>(row_bytes) - bytes);
      rows[i] = padded;
    }
    task.group = to.group(slot, head);
    table.pack_group(task);
  }
}

void unpack(const KernelTable& table, const Packed16Half& from, const RowHalf& to, Slots slots,
            int64_t head, std::byte* scratch) {
  const int64_t row_bytes = from.columns * size_of(from.dtype);
  const bool padded = from.dim != from.columns;
  void* rows[kPacked16Keys];
  UngroupTask task{};
  task.dtype = from.dtype;
  task.is_v = from.is_v;
  task.columns = from.columns;
  task.v_keys = from.v_keys;
  task.rows = rows;
  for (int64_t slot = slots.begin; slot < slots.end; slot += kPacked16Keys) {
    for (int64_t i = 0; i < kPacked16Keys; ++i) {
      rows[i] = padded ? scratch + i * row_bytes : to.row(slot + i, head);
    }
    task.group = from.group(slot, head);
    table.unpack_group(task);
    if (!padded) continue;
    for (int64_t i = 0; i < kPacked16Keys; ++i) {
      std::memcpy(to.row(slot + i, head), rows[i],
                  static_cast<size_t>(from.dim * size_of(from.dtype)));
    }
  }
}

struct Conversion {
  const KernelTable& table;
  const KvView& from;
  const KvView& to;
};

void convert_half(const Conversion& conversion, bool v, Slots slots, int64_t head,
                  std::byte* scratch) {
  const auto& [table, from, to] = conversion;
  if (grouped(from) && grouped(to)) {
    copy_groups({from, v}, {to, v}, slots, head);
  } else if (grouped(to)) {
    pack(table, {from, v}, {to, v}, slots, head, scratch);
  } else if (grouped(from)) {
    unpack(table, {from, v}, {to, v}, slots, head, scratch);
  } else {
    const int64_t dim = v ? from.head_dim_v : from.head_dim;
    copy_rows({from, v}, {to, v}, slots, head, dim * size_of(from.dtype));
  }
}

}  // namespace

void convert(const KernelTable& table, UnitRunner& runner, const KvView& from, const KvView& to) {
  const int64_t units_per_page = (from.page_size + kSlotsPerUnit - 1) / kSlotsPerUnit;
  const int64_t columns = std::max(packed16_dim(from.head_dim), packed16_dim(from.head_dim_v));
  const bool needs_rows = grouped(from) != grouped(to);
  const Conversion conversion{table, from, to};
  const int64_t floats = needs_rows ? kPacked16Keys * columns : 0;
  runner.for_each_unit(from.num_pages * units_per_page, floats, [&](int64_t unit, float* scratch) {
    const int64_t page_begin = unit / units_per_page * from.page_size;
    const int64_t first = unit % units_per_page * kSlotsPerUnit;
    const int64_t last = std::min<int64_t>(first + kSlotsPerUnit, from.page_size);
    const Slots slots{page_begin + first, page_begin + last};
    auto* bytes = reinterpret_cast<std::byte*>(scratch);
    for (int64_t head = 0; head < from.num_heads_kv; ++head) {
      convert_half(conversion, false, slots, head, bytes);
      if (!from.v_is_k_prefix) convert_half(conversion, true, slots, head, bytes);
    }
  });
}

}  // namespace attnrt::cpu
