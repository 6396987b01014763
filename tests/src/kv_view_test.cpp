// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "attnrt/kv_cache.hpp"

namespace attnrt {
namespace {

void check_strides(const KvStrides& strides, int64_t page, int64_t token, int64_t head) {
  CHECK(strides.page == page);
  CHECK(strides.token == token);
  CHECK(strides.head == head);
}

TEST_CASE("packed caches are (total_k, heads, dim)") {
  float k = 0, v = 0;
  const KvView view = KvView::packed(&k, &v, DType::kBF16, 100, 8, 64, 32);
  CHECK(view.layout == KvLayout::kPacked);
  CHECK(view.dtype == DType::kBF16);
  CHECK(view.k == &k);
  CHECK(view.v == &v);
  CHECK(view.num_tokens == 100);
  CHECK(view.num_pages == 0);
  CHECK(view.page_size == 0);
  CHECK(view.num_heads_kv == 8);
  CHECK(view.head_dim == 64);
  CHECK(view.head_dim_v == 32);
  check_strides(view.k_strides, 0, 8 * 64, 64);
  check_strides(view.v_strides, 0, 8 * 32, 32);
  CHECK_FALSE(view.v_is_k_prefix);
  CHECK(KvView::packed(&k, &v, DType::kBF16, 100, 8, 64).head_dim_v == 64);
}

TEST_CASE("pages are dense in the order of their layout") {
  const KvView nhd =
      KvView::paged(nullptr, nullptr, DType::kF32, KvLayout::kNHD, 10, 16, 8, 64, 32);
  CHECK(nhd.num_tokens == 160);
  check_strides(nhd.k_strides, 16 * 8 * 64, 8 * 64, 64);
  check_strides(nhd.v_strides, 16 * 8 * 32, 8 * 32, 32);

  const KvView hnd =
      KvView::paged(nullptr, nullptr, DType::kF32, KvLayout::kHND, 10, 16, 8, 64, 32);
  check_strides(hnd.k_strides, 16 * 8 * 64, 64, 16 * 64);
  check_strides(hnd.v_strides, 16 * 8 * 32, 32, 16 * 32);
}

TEST_CASE("packed16 pages hold K, then V, of one head after the other, padded to 16 columns") {
  alignas(64) float memory = 0;
  const KvView view = KvView::packed16(&memory, DType::kBF16, 10, 48, 8, 40, 72);
  CHECK(view.layout == KvLayout::kPacked16);
  CHECK(view.dtype == DType::kBF16);
  CHECK(view.num_tokens == 480);
  CHECK(view.head_dim == 40);
  CHECK(view.head_dim_v == 72);
  CHECK_FALSE(view.v_is_k_prefix);
  const int64_t head = 48 * (48 + 80);
  check_strides(view.k_strides, 8 * head, 0, head);
  check_strides(view.v_strides, 8 * head, 0, head);
  CHECK(view.k == &memory);
  CHECK(reinterpret_cast<uintptr_t>(view.v) - reinterpret_cast<uintptr_t>(view.k) == 48 * 48 * 2);
  CHECK(packed16_bytes(DType::kBF16, 10, 48, 8, 40, 72) == 10 * 8 * head * 2);
  CHECK(KvView::packed16(&memory, DType::kBF16, 10, 48, 8, 40).head_dim_v == 40);
  CHECK(packed16_bytes(DType::kF32, 10, 16, 8, 64) == 10 * 16 * 8 * 128 * 4);
  CHECK(packed16_bytes(DType::kF32, 0, 16, 8, 64) == 0);
  CHECK(KvView::packed16(nullptr, DType::kF32, 0, 16, 8, 64).v == nullptr);
}

TEST_CASE("packed16 pages with branches hold all K of a head before its V") {
  std::vector<float> memory(16);
  const KvView one = KvView::packed16(memory.data(), DType::kBF16, 3, 32, 2, 40, 20);
  const KvView two = KvView::packed16(memory.data(), DType::kBF16, 3, 32, 2, 40, 20, 2);
  const int64_t k_elements = 32 * 48;
  CHECK(two.k == memory.data());
  CHECK(two.k_strides.head == one.k_strides.head + k_elements);
  CHECK(two.v_strides.page == 2 * two.k_strides.head);
  const auto bytes = [&](const void* p) {
    return static_cast<const char*>(p) - static_cast<const char*>(two.k);
  };
  CHECK(bytes(two.packed16_branch(0)) == 0);
  CHECK(bytes(two.packed16_branch(1)) == 2 * k_elements);
  CHECK(bytes(two.v) == 2 * 2 * k_elements);
  CHECK(packed16_bytes(two) == 3 * 2 * (2 * 32 * 48 + 32 * 32) * 2);
  CHECK(KvView{}.packed16_branch(1) == nullptr);
}

TEST_CASE("MLA stores one copy of latent rows") {
  float memory = 0;
  const KvView view = KvView::mla(&memory, DType::kF32, 10, 64, 576, 512);
  CHECK(view.v_is_k_prefix);
  CHECK(view.k == &memory);
  CHECK(view.num_heads_kv == 1);
  CHECK(view.head_dim == 576);
  CHECK(view.head_dim_v == 512);
  check_strides(view.k_strides, 64 * 576, 576, 576);
  check_strides(view.v_strides, 64 * 576, 576, 576);
}

TEST_CASE("sizes beyond 2^31 are counted in 64 bits, absurd ones do not overflow") {
  const KvView large = KvView::paged(nullptr, nullptr, DType::kF32, KvLayout::kHND,
                                     int64_t{1} << 32, 1 << 16, 1 << 10, 1 << 8);
  CHECK(large.num_tokens == int64_t{1} << 48);
  CHECK(large.k_strides.page == int64_t{1} << 34);

  const int32_t huge = std::numeric_limits<int32_t>::max();
  const KvView absurd = KvView::paged(nullptr, nullptr, DType::kF32, KvLayout::kHND,
                                      std::numeric_limits<int64_t>::max(), huge, huge, huge);
  CHECK(absurd.num_tokens == std::numeric_limits<int64_t>::max());
  CHECK(absurd.k_strides.page == std::numeric_limits<int64_t>::max());

  CHECK(packed16_bytes(DType::kBF16, int64_t{1} << 20, 64, 8, 128) == int64_t{1} << 38);
  CHECK(packed16_bytes(DType::kF32, std::numeric_limits<int64_t>::max(), huge, huge, huge) ==
        std::numeric_limits<int64_t>::max());
  CHECK(packed16_bytes(DType::kF32, -1, 16, -8, -64) == 0);
}

TEST_CASE("layouts have names") {
  CHECK(std::string(to_string(KvLayout::kPacked)) == "packed");
  CHECK(std::string(to_string(KvLayout::kNHD)) == "nhd");
  CHECK(std::string(to_string(KvLayout::kHND)) == "hnd");
  CHECK(std::string(to_string(KvLayout::kPacked16)) == "packed16");
  CHECK(std::string(to_string(static_cast<KvLayout>(9))) == "unknown");
}

}  // namespace
}  // namespace attnrt
