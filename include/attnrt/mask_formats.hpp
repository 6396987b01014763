// SPDX-License-Identifier: Apache-2.0
// Masks in the formats of others: read, as expressions over their own arrays or over small tables
// made from them, so that everything that works for masks works for them; and written, from plans.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "attnrt/attention.hpp"
#include "attnrt/expr.hpp"
#include "attnrt/status.hpp"

namespace attnrt::expr {

/// A mask with the values of its slots, for compile_mask and SequenceBatch::mask_values. Borrows
/// the arrays it was made from where that is said; what it made itself it owns, so it must outlive
/// the plans. All imports leave it alone on error and answer OutOfMemory where there is none.
struct ImportedMask {
  ImportedMask() = default;
  ImportedMask(const ImportedMask&) = delete;  // `values` point into it
  ImportedMask& operator=(const ImportedMask&) = delete;
  ImportedMask(ImportedMask&&) = default;
  ImportedMask& operator=(ImportedMask&&) = default;
  ~ImportedMask() = default;

  Expr mask;
  std::vector<SlotValue> values;
  std::deque<std::vector<int8_t>> tables;
  std::deque<std::vector<int32_t>> indices;
};

/// Blocks of q_block x kv_block elements. num_blocks: [batch, heads, rows]; indices: [batch, heads,
/// rows, columns], of which the first num_blocks count, in any order. batch and heads of 1 stand
/// for all.
struct BlockLists {
  const int32_t* num_blocks = nullptr;
  const int32_t* indices = nullptr;
  int32_t max_columns = 0;  // of indices
};

struct BlockMaskShape {
  int32_t batch = 1;
  int32_t heads = 1;
  int32_t rows = 0;     // of blocks
  int32_t columns = 0;  // of blocks
  int32_t q_block = 128;
  int32_t kv_block = 128;
};

/// FlexAttention's BlockMask: in partial blocks `elements` decides, full ones are visible, what is
/// in neither list is not. full.num_blocks may be null. Errors: InvalidArgument for counts and
/// indices out of range and for a block in both lists.
Status import_block_mask(const BlockMaskShape& shape, const BlockLists& partial,
                         const BlockLists& full, const Expr& elements, ImportedMask& out);

/// The k blocks that each row of blocks chose: [batch, heads, rows, k]; entries < 0 are none.
/// Errors: InvalidArgument for an index out of range.
Status import_top_k(const BlockMaskShape& shape, const int32_t* indices, int32_t k,
                    ImportedMask& out);

/// FlashMask's startend_row_indices: [batch, heads, kv_len, columns], heads being 1 or those of
/// KV; rows that do NOT see a key. Borrowed. columns by `causal`: 1 (start) or 2 (start, end)
/// where causal; 2 (lower start, upper end) or 4 (both ends of both) where not.
struct FlashMaskColumns {
  const int32_t* data = nullptr;
  int32_t batch = 1;
  int32_t heads = 1;
  int32_t kv_len = 0;
  int32_t columns = 1;
  bool causal = true;
};

Status import_flash_mask(const FlashMaskColumns& mask, ImportedMask& out);

/// As a tree's prefix: the tree is the end of every sequence, however long it is, so one mask does
/// for a batch and for all steps.
inline constexpr int32_t kTreeAtEnd = -1;

/// A tree of draft tokens behind `prefix` keys that all of them see: token i at position
/// prefix + i, bit j of row i set where it sees token j. words: [nodes, words_per_row], bit j in
/// word j / 64. Borrowed; read as bytes, so hosts are little-endian.
Status import_tree_bits(std::span<const uint64_t> words, int32_t nodes, int32_t words_per_row,
                        int32_t prefix, ImportedMask& out);

/// The same by the parent of each node, -1 for roots: a token sees its ancestors and itself.
/// Errors: InvalidArgument where a parent does not come before its child.
Status import_tree_parents(std::span<const int32_t> parents, int32_t prefix, ImportedMask& out);

/// Keys [begin, end) that a row sees.
struct RowInterval {
  int32_t begin = 0;
  int32_t end = 0;

  bool operator==(const RowInterval&) const = default;
};

struct RowIntervals {
  std::vector<RowInterval> intervals;
  std::vector<int64_t> row_begin{0};  // of query token i: [row_begin[i], row_begin[i + 1])
};

/// What the query tokens of one sequence see under one query head, options and mask together:
/// ascending intervals of keys that do not touch, for each row. Where the plan has a proof it is
/// taken; other elements are evaluated, some 100 ns each.
/// Errors: InvalidArgument for a plan that has not been made, and for seq and head out of range.
Status export_row_intervals(const Plan& plan, int32_t seq, int32_t head, RowIntervals& out);

}  // namespace attnrt::expr
