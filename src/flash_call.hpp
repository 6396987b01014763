// SPDX-License-Identifier: Apache-2.0
// What a flash_attn_with_kvcache call means, in one place for its checks and its execution.
#pragma once

#include <array>
#include <cstdint>

#include "attnrt/flash_attn.hpp"

namespace attnrt {

/// New keys are given, be it none of them: an empty tensor may have a null pointer.
inline bool has_new_keys(const FlashAttnKvCacheArgs& args) noexcept {
  return args.k.data != nullptr || args.k.shape != std::array<int64_t, 3>{};
}

/// The cache is (batch_cache, seqlen_cache, ..): one page per row, chosen by cache_batch_idx.
inline bool has_cache_rows(const FlashAttnKvCacheArgs& args) noexcept {
  return args.block_table.empty() && args.max_pages == 0;
}

/// FlashAttention rotates all query rows of a sequence alike unless their order matters.
inline bool rotates_by_row(const FlashAttnKvCacheArgs& args) noexcept {
  return args.causal || args.window_size_left >= 0 || args.window_size_right >= 0;
}

inline BlockTable dense_table(const FlashAttnKvCacheArgs& args) noexcept {
  return BlockTable::dense(args.block_table, args.max_pages, args.kv_cache.page_size,
                           args.block_table_stride);
}

/// Tokens of sequence b: from prefix sums, or an equal share.
inline int64_t tokens_of(std::span<const int32_t> sums, int64_t total, int64_t batch,
                         int64_t b) noexcept {
  if (sums.empty()) return total / batch;
  const auto i = static_cast<size_t>(b);
  return int64_t{sums[i + 1]} - sums[i];
}

}  // namespace attnrt
