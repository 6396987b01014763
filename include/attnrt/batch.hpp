// SPDX-License-Identifier: Apache-2.0
// Who is in this step: query and key lengths of every sequence, and where its pages are.
#pragma once

#include <cstdint>
#include <span>

#include "attnrt/expr.hpp"

namespace attnrt {

/// Maps each sequence's logical pages to physical pages of the cache. Borrowed: the memory must
/// live as long as a plan made from it. Two forms, told apart by `indptr`:
///  * dense (vLLM, FlashAttention): row b holds the pages of sequence b; entries past the pages a
///    sequence needs are never read.
///  * CSR (FlashInfer): sequence b owns pages[indptr[b] .. indptr[b + 1]).
struct BlockTable {
  int32_t page_size = 0;            // keys per page; 0 means that K and V are packed, not paged
  std::span<const int32_t> pages;   // dense [batch, row_stride] or CSR [indptr.back()]
  int32_t max_pages = 0;            // dense: usable columns of a row
  int64_t row_stride = 0;           // dense: elements from row to row; 0 means max_pages
  std::span<const int32_t> indptr;  // CSR: [batch + 1], first 0, never falling
  std::span<const int32_t> last_page_len;  // CSR: [batch], 1..page_size, 0 only without pages

  [[nodiscard]] bool paged() const noexcept { return page_size != 0; }
  [[nodiscard]] bool is_csr() const noexcept { return !indptr.empty(); }

  static BlockTable dense(std::span<const int32_t> pages, int32_t max_pages, int32_t page_size,
                          int64_t row_stride = 0) noexcept {
    BlockTable table;
    table.page_size = page_size;
    table.pages = pages;
    table.max_pages = max_pages;
    table.row_stride = row_stride;
    return table;
  }
  static BlockTable csr(std::span<const int32_t> indptr, std::span<const int32_t> indices,
                        std::span<const int32_t> last_page_len, int32_t page_size) noexcept {
    BlockTable table;
    table.page_size = page_size;
    table.pages = indices;
    table.indptr = indptr;
    table.last_page_len = last_page_len;
    return table;
  }
};

/// A batch of sequences. All spans but the block table's are read while planning only; the buffers
/// that mask_values name are read by attend, too.
///
/// Where the number of keys of sequence b comes from:
///  * packed K/V: cu_seqlens_k, or seqused_k where given (at most the packed length);
///  * paged, dense table: seqused_k (required);
///  * paged, CSR: seqused_k where given, else (pages - 1) * page_size + last_page_len.
struct SequenceBatch {
  std::span<const int32_t> cu_seqlens_q;  // [batch + 1] prefix sums of query lengths, first 0
  std::span<const int32_t> cu_seqlens_k;  // [batch + 1] prefix sums of key lengths; packed only
  std::span<const int32_t> seqused_k;  // [batch] valid keys, those appended in this step included
  BlockTable block_table;              // paged only
  std::span<const int32_t> q_start;    // [batch] logical position of the first query row; default
                                       // kv_len - q_len. May be negative or beyond kv_len.
  std::span<const int32_t> leftpad_k;  // [batch] cache slots skipped before key 0; default 0.
                                       // seqused_k counts them: kv_len = seqused_k - leftpad_k.

  // Values of the slots of AttentionSpec::mask, by name; others are ignored. A changed value or
  // element takes a new plan.
  std::span<const expr::SlotValue> mask_values;

  [[nodiscard]] int64_t batch_size() const noexcept {
    return cu_seqlens_q.empty() ? 0 : static_cast<int64_t>(cu_seqlens_q.size()) - 1;
  }
};

/// What a step has of a planned batch, in device memory and read when kernels run: a call that is
/// captured once serves the steps after it. Lengths count as SequenceBatch::seqused_k does, and as
/// the plan's where they are larger. With fewer keys q_start falls by as many, so that rows keep
/// their distance from the last key. Pages must be the cache's wherever a length reaches, which
/// nobody checks. Lengths not with window_left, spec.mask or spec.score: those plans hold for one
/// length.
struct DeviceLengths {
  const int32_t* seqused_k = nullptr;    // [batch]; null: the plan's
  const int32_t* block_table = nullptr;  // [batch, row_stride]; null: the plan's
  int64_t row_stride = 0;                // at least the pages of the longest sequence of the plan
};

}  // namespace attnrt
