// SPDX-License-Identifier: Apache-2.0
// Lengths of a sequence and slots of its keys, as the batch says: written apart from the library's
// own way to find them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attnrt/batch.hpp"

namespace attnrt::reference {

/// What the batch says about one sequence.
struct Sequence {
  int64_t index;
  int64_t first_row;  // of q
  int64_t q_len;
  int64_t leftpad;
  int64_t kv_len;
  int64_t q_start;
};

inline size_t at(int64_t index) { return static_cast<size_t>(index); }

inline int64_t used_slots(const SequenceBatch& batch, int64_t seq) {
  if (!batch.seqused_k.empty()) return batch.seqused_k[at(seq)];
  const BlockTable& table = batch.block_table;
  if (table.page_size == 0) return batch.cu_seqlens_k[at(seq + 1)] - batch.cu_seqlens_k[at(seq)];
  const int64_t pages = table.indptr[at(seq + 1)] - table.indptr[at(seq)];
  return pages > 0 ? (pages - 1) * table.page_size + table.last_page_len[at(seq)] : 0;
}

inline Sequence sequence_of(const SequenceBatch& batch, int64_t seq) {
  Sequence s{};
  s.index = seq;
  s.first_row = batch.cu_seqlens_q[at(seq)];
  s.q_len = batch.cu_seqlens_q[at(seq + 1)] - s.first_row;
  s.leftpad = batch.leftpad_k.empty() ? 0 : batch.leftpad_k[at(seq)];
  s.kv_len = used_slots(batch, seq) - s.leftpad;
  s.q_start = batch.q_start.empty() ? s.kv_len - s.q_len : batch.q_start[at(seq)];
  return s;
}

/// The cache slot of one key: page * page_size + offset, or the row of packed K and V.
inline int64_t slot_of(const SequenceBatch& batch, const Sequence& s, int64_t key) {
  const BlockTable& table = batch.block_table;
  const int64_t slot = s.leftpad + key;
  if (table.page_size == 0) return batch.cu_seqlens_k[at(s.index)] + slot;
  int64_t entry = slot / table.page_size;
  if (!table.indptr.empty()) {
    entry += table.indptr[at(s.index)];
  } else {
    entry += s.index * (table.row_stride != 0 ? table.row_stride : table.max_pages);
  }
  return int64_t{table.pages[at(entry)]} * table.page_size + slot % table.page_size;
}

}  // namespace attnrt::reference
