// SPDX-License-Identifier: Apache-2.0
// Masks of other libraries: checked, and read as expressions over their arrays or small tables.
#include <bit>
#include <new>
#include <string>
#include <utility>

#include "attnrt/mask_formats.hpp"

namespace attnrt::expr {
namespace {

static_assert(std::endian::native == std::endian::little);

// Classes of blocks in a table.
constexpr int8_t kPartialBlock = 1;
constexpr int8_t kFullBlock = 2;

// More blocks than this are a mistake rather than a mask: 4 GB of table.
constexpr int64_t kMaxBlocks = int64_t{1} << 32;

// Runs `fill` on a mask of its own, so that `out` stays as it is on error, and lets nothing escape.
template <class Fill>
Status import_into(ImportedMask& out, const Fill& fill) {
  try {
    ImportedMask made;
    Status status = fill(made);
    if (status.ok()) out = std::move(made);
    return status;
  } catch (const std::bad_alloc&) {
    return {Code::kOutOfMemory, {}};
  }
}

Status refuse(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }

Status check(const BlockMaskShape& shape) {
  const std::pair<const char*, int32_t> extents[] = {
      {"batch", shape.batch},     {"heads", shape.heads},     {"rows", shape.rows},
      {"columns", shape.columns}, {"q_block", shape.q_block}, {"kv_block", shape.kv_block}};
  for (const auto& [name, extent] : extents) {
    if (extent > 0) continue;
    return refuse(std::string("block mask: ") + name + " is " + std::to_string(extent) +
                  ", must be positive");
  }
  const double blocks = static_cast<double>(shape.batch) * shape.heads * shape.rows * shape.columns;
  if (blocks > static_cast<double>(kMaxBlocks)) {
    return refuse("block mask: batch x heads x rows x columns is beyond " +
                  std::to_string(kMaxBlocks));
  }
  return {};
}

int64_t num_lines(const BlockMaskShape& shape) {
  return int64_t{shape.batch} * shape.heads * shape.rows;
}

Status mark(std::vector<int8_t>& table, const BlockMaskShape& shape, int64_t line, int32_t column,
            int8_t kind) {
  if (column < 0 || column >= shape.columns) {
    return refuse("block mask: index " + std::to_string(column) + " of row " +
                  std::to_string(line) + " is outside [0, " + std::to_string(shape.columns) + ")");
  }
  int8_t& block = table[static_cast<size_t>(line * shape.columns + column)];
  if (block != 0 && block != kind) {
    return refuse("block mask: block " + std::to_string(column) + " of row " +
                  std::to_string(line) + " is both partial and full");
  }
  block = kind;
  return {};
}

Status mark_lists(std::vector<int8_t>& table, const BlockMaskShape& shape, const BlockLists& lists,
                  int8_t kind) {
  if (lists.num_blocks == nullptr) return {};
  if (lists.indices == nullptr && lists.max_columns > 0) {
    return refuse("block mask: indices are null, must have " + std::to_string(lists.max_columns) +
                  " a row");
  }
  for (int64_t line = 0; line < num_lines(shape); ++line) {
    const int32_t count = lists.num_blocks[line];
    if (count < 0 || count > lists.max_columns) {
      return refuse("block mask: row " + std::to_string(line) + " counts " + std::to_string(count) +
                    " blocks of at most " + std::to_string(lists.max_columns));
    }
    for (int32_t i = 0; i < count; ++i) {
      const int32_t column = lists.indices[line * lists.max_columns + i];
      if (Status status = mark(table, shape, line, column, kind); !status.ok()) return status;
    }
  }
  return {};
}

// An index into a dimension of which 1 stands for all. A mask that does not ask for the head is
// planned once for all of them.
Expr index_of(int32_t extent, const Expr& index) { return extent == 1 ? Expr(0) : index; }

// The class of the block of (q, kv), and where the table has one: indices are clamped, so elements
// behind the last block are cut off.
struct BlockTable {
  Expr kind;
  Expr inside;
};

BlockTable add_block_table(const BlockMaskShape& shape, std::vector<int8_t> table,
                           ImportedMask& out) {
  out.tables.push_back(std::move(table));
  out.values.push_back(buffer_value("attnrt_blocks", ElementType::kI8, out.tables.back().data(),
                                    {shape.batch, shape.heads, shape.rows, shape.columns}));
  const Buffer blocks = buffer("attnrt_blocks", ElementType::kI8, 4);
  return {
      blocks(index_of(shape.batch, b()), index_of(shape.heads, h()), floordiv(q(), shape.q_block),
             floordiv(kv(), shape.kv_block)),
      q() < int64_t{shape.rows} * shape.q_block && kv() < int64_t{shape.columns} * shape.kv_block};
}

// Column i of FlashMask's array, by (batch, KV head, key).
Expr column(const FlashMaskColumns& mask, int32_t i, ImportedMask& out) {
  const std::string name = "attnrt_rows" + std::to_string(i);
  static constexpr const char* kNames[] = {"attnrt_rows0", "attnrt_rows1", "attnrt_rows2",
                                           "attnrt_rows3"};
  SlotValue value = buffer_value(kNames[i], ElementType::kI32, mask.data + i,
                                 {mask.batch, mask.heads, mask.kv_len});
  const int64_t line = int64_t{mask.kv_len} * mask.columns;
  value.strides = {mask.heads * line, line, mask.columns, 0};
  out.values.push_back(value);
  return buffer(name, ElementType::kI32, 3)(index_of(mask.batch, b()), index_of(mask.heads, hkv()),
                                            kv());
}

Expr not_between(const Expr& begin, const Expr& end) { return !(begin <= q() && q() < end); }

Status check_prefix(int32_t prefix) {
  if (prefix >= kTreeAtEnd) return {};
  return refuse("tree mask: prefix is " + std::to_string(prefix) + ", must be at least -1");
}

// Keys that every node of a tree sees.
Expr tree_prefix(int32_t prefix, size_t nodes) {
  if (prefix == kTreeAtEnd) return kv_len() - static_cast<int64_t>(nodes);
  return prefix;
}

Status block_mask(const BlockMaskShape& shape, const BlockLists& partial, const BlockLists& full,
                  const Expr& elements, ImportedMask& out) {
  if (Status status = check(shape); !status.ok()) return status;
  std::vector<int8_t> table(static_cast<size_t>(num_lines(shape) * shape.columns));
  if (Status s = mark_lists(table, shape, partial, kPartialBlock); !s.ok()) return s;
  if (Status s = mark_lists(table, shape, full, kFullBlock); !s.ok()) return s;
  const BlockTable blocks = add_block_table(shape, std::move(table), out);
  out.mask = blocks.inside &&
             (blocks.kind == int{kFullBlock} || (blocks.kind == int{kPartialBlock} && elements));
  return {};
}

Status top_k(const BlockMaskShape& shape, const int32_t* indices, int32_t k, ImportedMask& out) {
  if (Status status = check(shape); !status.ok()) return status;
  if (k < 0) return refuse("block mask: k is " + std::to_string(k) + ", must not be negative");
  if (indices == nullptr && k > 0) {
    return refuse("block mask: indices are null, must have " + std::to_string(k) + " a row");
  }
  std::vector<int8_t> table(static_cast<size_t>(num_lines(shape) * shape.columns));
  for (int64_t line = 0; line < num_lines(shape); ++line) {
    for (int32_t i = 0; i < k; ++i) {
      const int32_t chosen = indices[line * k + i];
      if (chosen < 0) continue;
      if (Status s = mark(table, shape, line, chosen, kFullBlock); !s.ok()) return s;
    }
  }
  const BlockTable blocks = add_block_table(shape, std::move(table), out);
  out.mask = blocks.inside && blocks.kind == int{kFullBlock};
  return {};
}

Status flash_mask(const FlashMaskColumns& mask, ImportedMask& out) {
  if (mask.data == nullptr) return refuse("startend_row_indices: data is null");
  const std::pair<const char*, int32_t> extents[] = {
      {"batch", mask.batch}, {"heads", mask.heads}, {"kv_len", mask.kv_len}};
  for (const auto& [name, extent] : extents) {
    if (extent > 0) continue;
    return refuse(std::string("startend_row_indices: ") + name + " is " + std::to_string(extent) +
                  ", must be positive");
  }
  const bool fits =
      mask.causal ? mask.columns == 1 || mask.columns == 2 : mask.columns == 2 || mask.columns == 4;
  if (!fits) {
    return refuse("startend_row_indices: " + std::to_string(mask.columns) + " columns; " +
                  (mask.causal ? "a causal mask has 1 or 2" : "one that is not causal 2 or 4"));
  }
  const Expr first = column(mask, 0, out);
  if (mask.causal) {
    const Expr below = mask.columns == 1 ? q() < first : not_between(first, column(mask, 1, out));
    out.mask = kv() <= q() && below;
  } else if (mask.columns == 2) {
    const Expr upper_end = column(mask, 1, out);
    out.mask = q() < first && q() >= upper_end;
  } else {
    const Expr lower_end = column(mask, 1, out);
    const Expr upper_begin = column(mask, 2, out);
    out.mask = not_between(first, lower_end) && not_between(upper_begin, column(mask, 3, out));
  }
  return {};
}

Status tree_bits(std::span<const uint64_t> words, int32_t nodes, int32_t words_per_row,
                 int32_t prefix, ImportedMask& out) {
  if (Status s = check_prefix(prefix); !s.ok()) return s;
  if (nodes < 1)
    return refuse("tree mask: nodes is " + std::to_string(nodes) + ", must be positive");
  if (int64_t{words_per_row} * 64 < nodes ||
      static_cast<int64_t>(words.size()) < int64_t{nodes} * words_per_row) {
    return refuse("tree mask: " + std::to_string(words.size()) + " words, " +
                  std::to_string(words_per_row) + " a row, do not hold a bit for each pair of " +
                  std::to_string(nodes) + " nodes");
  }
  out.values.push_back(buffer_value("attnrt_bits", ElementType::kI8, words.data(),
                                    {nodes, int64_t{words_per_row} * 8}));
  const Buffer bits = buffer("attnrt_bits", ElementType::kI8, 2);
  const Expr begin = tree_prefix(prefix, static_cast<size_t>(nodes));
  const Expr row = q() - begin;
  const Expr bit = kv() - begin;
  out.mask = bit < 0 || (bit < nodes && ((bits(row, bit >> 3) >> (bit & 7)) & 1) == 1);
  return {};
}

Status tree_parents(std::span<const int32_t> parents, int32_t prefix, ImportedMask& out) {
  const size_t nodes = parents.size();
  if (nodes == 0) return refuse("tree mask: at least one node is needed");
  if (Status s = check_prefix(prefix); !s.ok()) return s;
  for (size_t i = 0; i < nodes; ++i) {
    if (parents[i] < -1 || parents[i] >= static_cast<int32_t>(i)) {
      return refuse("tree mask: parent " + std::to_string(parents[i]) + " of node " +
                    std::to_string(i) + " does not come before it");
    }
  }
  // Numbers in order of a walk through the tree: a subtree is an interval of them. Parents come
  // first, so sizes add up backwards and places are handed out forwards.
  std::vector<int32_t> size(nodes, 1);
  for (size_t i = nodes; i-- > 0;) {
    if (parents[i] >= 0) size[static_cast<size_t>(parents[i])] += size[i];
  }
  std::vector<int32_t> in(nodes);
  std::vector<int32_t> end(nodes);
  std::vector<int32_t> next(nodes);
  int32_t next_root = 0;
  for (size_t i = 0; i < nodes; ++i) {
    int32_t& place = parents[i] < 0 ? next_root : next[static_cast<size_t>(parents[i])];
    in[i] = place;
    place += size[i];
    end[i] = in[i] + size[i];
    next[i] = in[i] + 1;
  }
  const auto add = [&](const char* name, std::vector<int32_t> values) {
    out.indices.push_back(std::move(values));
    out.values.push_back(buffer_value(name, ElementType::kI32, out.indices.back().data(),
                                      {static_cast<int64_t>(nodes)}));
    return buffer(name, ElementType::kI32, 1);
  };
  const Buffer begins = add("attnrt_tree_begin", std::move(in));
  const Buffer ends = add("attnrt_tree_end", std::move(end));
  const Expr begin = tree_prefix(prefix, nodes);
  const Expr row = begins[q() - begin];
  const Expr key = kv() - begin;
  out.mask =
      key < 0 || (key < static_cast<int64_t>(nodes) && begins[key] <= row && row < ends[key]);
  return {};
}

}  // namespace

Status import_block_mask(const BlockMaskShape& shape, const BlockLists& partial,
                         const BlockLists& full, const Expr& elements, ImportedMask& out) {
  return import_into(
      out, [&](ImportedMask& made) { return block_mask(shape, partial, full, elements, made); });
}

Status import_top_k(const BlockMaskShape& shape, const int32_t* indices, int32_t k,
                    ImportedMask& out) {
  return import_into(out, [&](ImportedMask& made) { return top_k(shape, indices, k, made); });
}

Status import_flash_mask(const FlashMaskColumns& mask, ImportedMask& out) {
  return import_into(out, [&](ImportedMask& made) { return flash_mask(mask, made); });
}

Status import_tree_bits(std::span<const uint64_t> words, int32_t nodes, int32_t words_per_row,
                        int32_t prefix, ImportedMask& out) {
  return import_into(out, [&](ImportedMask& made) {
    return tree_bits(words, nodes, words_per_row, prefix, made);
  });
}

Status import_tree_parents(std::span<const int32_t> parents, int32_t prefix, ImportedMask& out) {
  return import_into(out, [&](ImportedMask& made) { return tree_parents(parents, prefix, made); });
}

}  // namespace attnrt::expr
