// SPDX-License-Identifier: Apache-2.0
// Places of elements, worked out by hand.
#include "backends/reference/kv_element.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace attnrt {
namespace {

using reference::kv_element;

alignas(64) std::byte memory[64];

KvView view_of(DType dtype, int32_t page_size, int32_t dim, int32_t dim_v) {
  return KvView::packed16(memory, dtype, 3, page_size, 2, dim, dim_v);
}

int64_t k_at(const KvView& kv, int64_t slot, int64_t d) {
  return kv_element(kv, {.is_v = false, .slot = slot, .head = 0}, d);
}
int64_t v_at(const KvView& kv, int64_t slot, int64_t d) {
  return kv_element(kv, {.is_v = true, .slot = slot, .head = 0}, d);
}

TEST_CASE("packed16 bf16: pairs of columns of 16 keys, pairs of keys of 16 columns") {
  const KvView kv = view_of(DType::kBF16, 64, 40, 32);
  CHECK(k_at(kv, 0, 0) == 0);
  CHECK(k_at(kv, 0, 1) == 1);
  CHECK(k_at(kv, 1, 0) == 2);
  CHECK(k_at(kv, 15, 1) == 31);
  CHECK(k_at(kv, 0, 2) == 32);
  CHECK(k_at(kv, 3, 39) == 19 * 32 + 3 * 2 + 1);
  CHECK(k_at(kv, 17, 0) == 16 * 48 + 2);  // 40 columns are padded to 48

  CHECK(v_at(kv, 0, 0) == 0);
  CHECK(v_at(kv, 1, 0) == 1);
  CHECK(v_at(kv, 0, 1) == 2);
  CHECK(v_at(kv, 2, 0) == 32);
  CHECK(v_at(kv, 31, 15) == 15 * 32 + 15 * 2 + 1);
  CHECK(v_at(kv, 0, 16) == 32 * 16);
  CHECK(v_at(kv, 33, 17) == 32 * 32 + 32 * 16 + 2 + 1);
}

TEST_CASE("packed16 bf16 in pages that are no multiple of 32: V of 16 keys") {
  const KvView kv = view_of(DType::kBF16, 48, 16, 32);
  CHECK(v_at(kv, 15, 0) == 7 * 32 + 1);
  CHECK(v_at(kv, 0, 16) == 16 * 16);
  CHECK(v_at(kv, 16, 0) == 16 * 32);
  CHECK(v_at(kv, 47, 31) == 2 * 16 * 32 + 16 * 16 + 7 * 32 + 15 * 2 + 1);
}

TEST_CASE("packed16 f32 and f16: 16 keys of a column, 16 columns of a key") {
  for (const DType dtype : {DType::kF32, DType::kF16}) {
    const KvView kv = view_of(dtype, 32, 33, 20);
    CHECK(k_at(kv, 1, 0) == 1);
    CHECK(k_at(kv, 0, 1) == 16);
    CHECK(k_at(kv, 18, 32) == 16 * 48 + 32 * 16 + 2);
    CHECK(v_at(kv, 0, 1) == 1);
    CHECK(v_at(kv, 1, 0) == 16);
    CHECK(v_at(kv, 31, 15) == 511);
    CHECK(v_at(kv, 0, 16) == 32 * 16);
    CHECK(v_at(kv, 3, 19) == 32 * 16 + 3 * 16 + 3);
  }
}

TEST_CASE("packed16 pages and heads stand where their strides say") {
  const KvView kv = view_of(DType::kF32, 16, 16, 32);
  CHECK(kv_element(kv, {.is_v = false, .slot = 16 * 2 + 5, .head = 1}, 3) ==
        2 * (2 * 16 * 48) + 16 * 48 + 3 * 16 + 5);
}

TEST_CASE("every element of a page has a place of its own") {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const int32_t page_size : {16, 32, 48, 64}) {
      const KvView kv = view_of(dtype, page_size, 48, 64);
      for (const bool is_v : {false, true}) {
        const int64_t columns = is_v ? 64 : 48;
        std::vector<int> taken(static_cast<size_t>(page_size * columns));
        bool inside = true;
        for (int64_t slot = 0; slot < page_size; ++slot) {
          for (int64_t d = 0; d < columns; ++d) {
            const int64_t at = kv_element(kv, {is_v, slot, 0}, d);
            inside = inside && at >= 0 && at < page_size * columns;
            if (inside) ++taken[static_cast<size_t>(at)];
          }
        }
        CAPTURE(std::string(to_string(dtype)));
        CAPTURE(page_size);
        CAPTURE(is_v);
        CHECK(inside);
        CHECK(taken == std::vector<int>(taken.size(), 1));
      }
    }
  }
}

}  // namespace
}  // namespace attnrt
