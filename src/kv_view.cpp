// SPDX-License-Identifier: Apache-2.0
// Views of dense caches. They accept any numbers: the call that uses a view refuses bad ones.
#include <algorithm>
#include <cstdint>

#include "attnrt/kv_cache.hpp"
#include "src/extent.hpp"
#include "src/packed16.hpp"

namespace attnrt {
namespace {

int64_t product(int64_t a, int64_t b) noexcept {
  return capped_mul(std::max<int64_t>(a, 0), std::max<int64_t>(b, 0));
}

KvStrides dense_strides(KvLayout layout, int32_t page_size, int32_t heads, int32_t dim) noexcept {
  KvStrides strides;
  if (layout == KvLayout::kHND) {
    strides.token = dim;
    strides.head = product(page_size, dim);
    strides.page = product(heads, strides.head);
  } else {
    strides.head = dim;
    strides.token = product(heads, dim);
    strides.page = product(page_size, strides.token);
  }
  return strides;
}

// As numbers: a pointer behind the memory of an absurd view would not be one.
void* behind(void* data, int64_t elements, DType dtype) noexcept {
  const auto bytes = static_cast<uintptr_t>(capped_mul(elements, size_of(dtype)));
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(data) + bytes);
}

}  // namespace

const char* to_string(KvLayout layout) noexcept {
  switch (layout) {
    case KvLayout::kPacked:
      return "packed";
    case KvLayout::kNHD:
      return "nhd";
    case KvLayout::kHND:
      return "hnd";
    case KvLayout::kPacked16:
      return "packed16";
  }
  return "unknown";
}

int64_t packed16_bytes(DType dtype, int64_t num_pages, int32_t page_size, int32_t num_heads_kv,
                       int32_t head_dim, int32_t head_dim_v) noexcept {
  return packed16_bytes(
      KvView::packed16(nullptr, dtype, num_pages, page_size, num_heads_kv, head_dim, head_dim_v));
}

int64_t packed16_bytes(const KvView& view) noexcept {
  return capped_mul(product(view.num_pages, view.k_strides.page), size_of(view.dtype));
}

KvView KvView::packed(void* k, void* v, DType dtype, int64_t total_k, int32_t num_heads_kv,
                      int32_t head_dim, int32_t head_dim_v) noexcept {
  KvView view = paged(k, v, dtype, KvLayout::kPacked, 0, 0, num_heads_kv, head_dim, head_dim_v);
  view.num_tokens = total_k;
  return view;
}

KvView KvView::paged(void* k, void* v, DType dtype, KvLayout layout, int64_t num_pages,
                     int32_t page_size, int32_t num_heads_kv, int32_t head_dim,
                     int32_t head_dim_v) noexcept {
  KvView view;
  view.layout = layout;
  view.dtype = dtype;
  view.k = k;
  view.v = v;
  view.num_pages = num_pages;
  view.page_size = page_size;
  view.num_tokens = product(num_pages, page_size);
  view.num_heads_kv = num_heads_kv;
  view.head_dim = head_dim;
  view.head_dim_v = head_dim_v == 0 ? head_dim : head_dim_v;
  view.k_strides = dense_strides(layout, page_size, num_heads_kv, view.head_dim);
  view.v_strides = dense_strides(layout, page_size, num_heads_kv, view.head_dim_v);
  return view;
}

KvView KvView::packed16(void* data, DType dtype, int64_t num_pages, int32_t page_size,
                        int32_t num_heads_kv, int32_t head_dim, int32_t head_dim_v,
                        int32_t num_branches) noexcept {
  KvView view = paged(data, data, dtype, KvLayout::kPacked16, num_pages, page_size, num_heads_kv,
                      head_dim, head_dim_v);
  const int64_t k_elements = product(num_branches, product(page_size, packed16_dim(view.head_dim)));
  const int64_t v_elements = product(page_size, packed16_dim(view.head_dim_v));
  KvStrides strides;
  strides.head = capped_add(k_elements, v_elements);
  strides.page = product(num_heads_kv, strides.head);
  view.k_strides = view.v_strides = strides;
  if (data != nullptr) view.v = behind(data, k_elements, dtype);
  return view;
}

void* KvView::packed16_branch(int32_t branch) const noexcept {
  if (k == nullptr) return nullptr;
  return behind(k, product(branch, product(page_size, packed16_dim(head_dim))), dtype);
}

KvView KvView::mla(void* kv, DType dtype, int64_t num_pages, int32_t page_size, int32_t head_dim,
                   int32_t head_dim_v) noexcept {
  KvView view = paged(kv, kv, dtype, KvLayout::kNHD, num_pages, page_size, 1, head_dim, head_dim_v);
  view.v_strides = view.k_strides;
  view.v_is_k_prefix = true;
  return view;
}

}  // namespace attnrt
