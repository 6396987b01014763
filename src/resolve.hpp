// SPDX-License-Identifier: Apache-2.0
// Lengths and places of one sequence, from a batch that has been (or is being) validated.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attnrt/batch.hpp"
#include "src/plan_data.hpp"

namespace attnrt {

/// Slots in use of sequence b, leftpad included: seqused_k, or what the packed or CSR form says.
inline int64_t used_slots(const SequenceBatch& batch, int64_t b) noexcept {
  const auto i = static_cast<size_t>(b);
  if (!batch.seqused_k.empty()) return batch.seqused_k[i];
  if (!batch.block_table.paged()) {
    return int64_t{batch.cu_seqlens_k[i + 1]} - batch.cu_seqlens_k[i];
  }
  const int64_t pages = int64_t{batch.block_table.indptr[i + 1]} - batch.block_table.indptr[i];
  if (pages == 0) return 0;
  return (pages - 1) * batch.block_table.page_size + batch.block_table.last_page_len[i];
}

/// First entry of sequence b's page list; null when K and V are packed.
inline const int32_t* page_row(const BlockTable& table, int64_t b) noexcept {
  if (!table.paged()) return nullptr;
  if (table.is_csr()) return table.pages.data() + table.indptr[static_cast<size_t>(b)];
  const int64_t stride = table.row_stride != 0 ? table.row_stride : table.max_pages;
  return table.pages.data() + b * stride;
}

inline PlanSequence resolve_sequence(const SequenceBatch& batch, int64_t b) noexcept {
  const auto i = static_cast<size_t>(b);
  const int32_t leftpad = batch.leftpad_k.empty() ? 0 : batch.leftpad_k[i];
  PlanSequence seq;
  seq.q_begin = batch.cu_seqlens_q[i];
  seq.q_len = batch.cu_seqlens_q[i + 1] - batch.cu_seqlens_q[i];
  seq.kv_len = static_cast<int32_t>(used_slots(batch, b) - leftpad);
  seq.q_start = batch.q_start.empty() ? seq.kv_len - seq.q_len : batch.q_start[i];
  seq.first_slot = leftpad;
  if (!batch.block_table.paged()) seq.first_slot += batch.cu_seqlens_k[i];
  seq.pages = page_row(batch.block_table, b);
  return seq;
}

}  // namespace attnrt
