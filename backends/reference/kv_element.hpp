// SPDX-License-Identifier: Apache-2.0
// Where each element of a cache stands, written from the definition of the layouts.
#pragma once

#include <cstdint>
#include <span>

#include "attnrt/kv_cache.hpp"

namespace attnrt::reference {

/// One row of a cache: K or V of a slot (page * page_size + offset, or the row of a packed cache)
/// and head.
struct KvRow {
  bool is_v = false;  // with kv.v_is_k_prefix: the first columns of K
  int64_t slot = 0;
  int64_t head = 0;
};

/// Index of element d of the row, in elements from kv.k, or from kv.v where the row is V and is
/// stored apart from K.
int64_t kv_element(const KvView& kv, const KvRow& row, int64_t d) noexcept;

/// The first values.size() elements of the row, exactly.
void load_kv_row(const KvView& kv, const KvRow& row, std::span<double> values) noexcept;

/// Element d of the row, rounded as `store` does.
void store_kv(const KvView& kv, const KvRow& row, int64_t d, double value) noexcept;

}  // namespace attnrt::reference
