// SPDX-License-Identifier: Apache-2.0
#include "tests/support/random_cache.hpp"

#include <cstring>
#include <random>

#include "backends/reference/kv_element.hpp"

namespace attnrt::test {
namespace {

int64_t dim_of(const CacheShape& shape, bool is_v) {
  const int64_t dim = is_v ? shape.head_dim_v : shape.head_dim;
  return shape.layout == KvLayout::kPacked16 ? (dim + 15) / 16 * 16 : dim;
}

// Of K or V in memory of its own.
KvStrides strides_of(const CacheShape& shape, bool is_v) {
  const int64_t dim = dim_of(shape, is_v);
  const int64_t gap = shape.padded ? 1 : 0;
  KvStrides s;
  if (shape.layout == KvLayout::kPacked16) {
    s.head = shape.page_size * dim + 64 * gap;
    s.page = shape.heads * s.head + 32 * gap;
  } else if (shape.layout == KvLayout::kHND) {
    s.token = dim + 3 * gap;
    s.head = shape.page_size * s.token + gap;
    s.page = shape.heads * s.head + 5 * gap;
  } else {
    s.head = dim + 3 * gap;
    s.token = shape.heads * s.head + gap;
    s.page = shape.page_size * s.token + 5 * gap;
  }
  return s;
}

void fill(AlignedBytes& bytes, std::mt19937_64& random) {
  for (size_t i = 0; i < bytes.size(); ++i) bytes.data()[i] = static_cast<std::byte>(random());
}

}  // namespace

RandomCache::RandomCache(const CacheShape& wanted, uint64_t seed) : shape(wanted) {
  view.layout = shape.layout;
  view.dtype = shape.dtype;
  view.num_pages = shape.num_pages;
  view.page_size = shape.page_size;
  view.num_tokens = shape.num_pages * shape.page_size;
  view.num_heads_kv = shape.heads;
  view.head_dim = shape.head_dim;
  view.head_dim_v = shape.head_dim_v;
  view.v_is_k_prefix = shape.mla;
  const bool shared = shape.layout == KvLayout::kPacked16 && !shape.padded;
  if (shared) {
    view.k_strides.head = shape.page_size * (dim_of(shape, false) + dim_of(shape, true));
    view.k_strides.page = shape.heads * view.k_strides.head;
    view.v_strides = view.k_strides;
  } else {
    view.k_strides = strides_of(shape, false);
    if (!shape.mla) view.v_strides = strides_of(shape, true);
  }
  const int64_t element_bytes = size_of(shape.dtype);
  const auto bytes = [&](const KvStrides& s) {
    return static_cast<size_t>(shape.num_pages * s.page * element_bytes);
  };
  k_bytes.assign(bytes(view.k_strides), std::byte{0});
  if (!shared && !shape.mla) v_bytes.assign(bytes(view.v_strides), std::byte{0});
  std::mt19937_64 random(seed);
  fill(k_bytes, random);
  fill(v_bytes, random);
  point_view();
}

RandomCache::RandomCache(const RandomCache& other)
    : shape(other.shape), k_bytes(other.k_bytes), v_bytes(other.v_bytes), view(other.view) {
  point_view();
}

void RandomCache::point_view() {
  view.k = k_bytes.data();
  view.v = v_bytes.data();
  if (shape.mla || v_bytes.size() > 0 || k_bytes.size() == 0) return;
  view.v = k_bytes.data() + shape.page_size * dim_of(shape, false) * size_of(shape.dtype);
}

int64_t RandomCache::columns(bool is_v) const { return dim_of(shape, is_v); }

std::byte* RandomCache::element(bool is_v, int64_t slot, int64_t head, int64_t d) const {
  void* data = is_v && !shape.mla ? view.v : view.k;
  return static_cast<std::byte*>(data) +
         reference::kv_element(view, {is_v, slot, head}, d) * size_of(shape.dtype);
}

uint32_t RandomCache::bits(bool is_v, int64_t slot, int64_t head, int64_t d) const {
  uint32_t value = 0;  // the low half of it, on little-endian machines
  std::memcpy(&value, element(is_v, slot, head, d), static_cast<size_t>(size_of(shape.dtype)));
  return value;
}

void RandomCache::set_bits(bool is_v, int64_t slot, int64_t head, int64_t d, uint32_t bits) {
  std::memcpy(element(is_v, slot, head, d), &bits, static_cast<size_t>(size_of(shape.dtype)));
}

}  // namespace attnrt::test
