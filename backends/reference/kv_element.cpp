// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/kv_element.hpp"

#include <cstddef>

#include "backends/reference/element.hpp"

namespace attnrt::reference {
namespace {

bool reads_v(const KvView& kv, const KvRow& row) noexcept { return row.is_v && !kv.v_is_k_prefix; }

void* data_of(const KvView& kv, const KvRow& row) noexcept {
  return reads_v(kv, row) ? kv.v : kv.k;
}

// Element d of slot t within the page of one head.
int64_t packed16_element(const KvView& kv, bool is_v, int64_t t, int64_t d) noexcept {
  const int64_t padded = ((is_v ? kv.head_dim_v : kv.head_dim) + int64_t{15}) / 16 * 16;
  const bool pairs = kv.dtype == DType::kBF16;
  if (!is_v) {
    const int64_t group = t / 16 * 16 * padded;
    return pairs ? group + d / 2 * 32 + t % 16 * 2 + d % 2 : group + d * 16 + t % 16;
  }
  const int64_t gs = kv.page_size % 32 == 0 ? 32 : 16;
  const int64_t block = t / gs * gs * padded + d / 16 * gs * 16;
  const int64_t in_group = t % gs;
  return pairs ? block + in_group / 2 * 32 + d % 16 * 2 + t % 2 : block + in_group * 16 + d % 16;
}

}  // namespace

int64_t kv_element(const KvView& kv, const KvRow& row, int64_t d) noexcept {
  const KvStrides& strides = reads_v(kv, row) ? kv.v_strides : kv.k_strides;
  const int64_t at_head = row.head * strides.head;
  if (kv.layout == KvLayout::kPacked) return row.slot * strides.token + at_head + d;
  const int64_t at_page = row.slot / kv.page_size * strides.page + at_head;
  const int64_t t = row.slot % kv.page_size;
  if (kv.layout == KvLayout::kPacked16) {
    return at_page + packed16_element(kv, reads_v(kv, row), t, d);
  }
  return at_page + t * strides.token + d;
}

void load_kv_row(const KvView& kv, const KvRow& row, std::span<double> values) noexcept {
  const void* data = data_of(kv, row);
  if (kv.layout != KvLayout::kPacked16) {
    load_row(kv.dtype, data, kv_element(kv, row, 0), values);
    return;
  }
  for (size_t d = 0; d < values.size(); ++d) {
    values[d] = load(kv.dtype, data, kv_element(kv, row, static_cast<int64_t>(d)));
  }
}

void store_kv(const KvView& kv, const KvRow& row, int64_t d, double value) noexcept {
  store(kv.dtype, data_of(kv, row), kv_element(kv, row, d), value);
}

}  // namespace attnrt::reference
