// SPDX-License-Identifier: Apache-2.0
// What append_kv refuses, by the exact message, and that a refused call writes nothing.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/attention.hpp"

namespace attnrt {
namespace {

constexpr float kPattern = 1234.5f;
constexpr int32_t kPages = 10;
constexpr int32_t kPageSize = 4;

// Five new tokens of three sequences; the second has none. Page ids that no new token needs hold
// -7, which is refused if ever read.
struct Case {
  std::vector<float> k = std::vector<float>(5 * 2 * 8, 0.5f);
  std::vector<float> v = std::vector<float>(5 * 2 * 6, 0.25f);
  std::vector<float> cache_k = std::vector<float>(kPages * kPageSize * 2 * 8, kPattern);
  std::vector<float> cache_v = std::vector<float>(kPages * kPageSize * 2 * 6, kPattern);
  std::vector<int32_t> cu_new = {0, 3, 3, 5};
  std::vector<int32_t> cache_seqlens = {3, 5, 6};
  std::vector<int32_t> cu_k;
  std::vector<int32_t> pages = {7, 2, -7, -7, -7, 9};
  std::vector<int32_t> indptr;
  std::vector<int64_t> slots;
  std::vector<float> angles = std::vector<float>(8 * 4, 0.5f);
  std::vector<int32_t> positions;
  int32_t max_pages = 2;
  int32_t page_size = kPageSize;
  AppendArgs args;

  Case() {
    args.k = dense_tensor(std::as_const(k).data(), DType::kF32, 5, 2, 8);
    args.v = dense_tensor(std::as_const(v).data(), DType::kF32, 5, 2, 6);
    args.kv = KvView::paged(cache_k.data(), cache_v.data(), DType::kF32, KvLayout::kNHD, kPages,
                            kPageSize, 2, 8, 6);
  }
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  void use_csr() {
    pages = {7, 2, -7, 9};
    indptr = {0, 2, 2, 4};
    cache_seqlens = {3, 0, 6};
    max_pages = 0;
  }
  void use_packed() {
    args.kv = KvView::packed(cache_k.data(), cache_v.data(), DType::kF32, 20, 2, 8, 6);
    cu_k = {0, 6, 12, 20};
    pages.clear();
    page_size = 0;
    max_pages = 0;
  }
  void use_slots() {
    cu_new.clear();
    cache_seqlens.clear();
    pages.clear();
    page_size = 0;
    slots = {0, -1, 39, 7, 8};
  }
  void use_rotary() {
    args.rotary.cos = angles.data();
    args.rotary.sin = angles.data();
    args.rotary.max_position = 8;
    args.rotary.rotary_dim = 8;
  }

  Status append(Context& context) {
    args.cu_seqlens_new = cu_new;
    args.cache_seqlens = cache_seqlens;
    args.cu_seqlens_k = cu_k;
    args.block_table = {page_size, pages, max_pages, 0, indptr, {}};
    args.slot_mapping = slots;
    args.rotary_positions = positions;
    return append_kv(context, args);
  }
  [[nodiscard]] bool untouched() const {
    const auto is_pattern = [](float x) { return x == kPattern; };
    return std::ranges::all_of(cache_k, is_pattern) && std::ranges::all_of(cache_v, is_pattern);
  }
};

Context reference_context() {
  ContextOptions options;
  options.backend = "reference";
  Context context;
  REQUIRE(Context::create(options, context).message() == "");
  return context;
}

using Prepare = std::function<void(Case&)>;
struct Row {
  std::string message;
  std::function<void(Case&)> spoil;
};

void check_refused(const Prepare& prepare, const std::vector<Row>& rows) {
  Context context = reference_context();
  Case good;
  prepare(good);
  REQUIRE(good.append(context).message() == "");
  CHECK_FALSE(good.untouched());
  for (const Row& row : rows) {
    CAPTURE(row.message);
    Case bad;
    prepare(bad);
    row.spoil(bad);
    const Status status = bad.append(context);
    CHECK(status.code() == Code::kInvalidArgument);
    CHECK(status.message() == row.message);
    CHECK(bad.untouched());
  }
}

const Prepare kDense = [](Case&) {};

void* shifted(void* p, int bytes) { return static_cast<char*>(p) + bytes; }

TEST_CASE("append_kv refuses bad tensors") {
  check_refused(
      kDense,
      {
          {"k.shape[0] is -5, must not be negative", [](Case& c) { c.args.k.shape[0] = -5; }},
          {"k.shape[1] is 4, must be 2 (num_heads_kv)", [](Case& c) { c.args.k.shape[1] = 4; }},
          {"k.shape[2] is 6, must be 8 (head_dim)", [](Case& c) { c.args.k.shape[2] = 6; }},
          {"v.shape[0] is 4, must be 5 (new tokens of k)", [](Case& c) { c.args.v.shape[0] = 4; }},
          {"v.shape[2] is 8, must be 6 (head_dim_v)", [](Case& c) { c.args.v.shape[2] = 8; }},
          {"k.dtype is 3, not a DType", [](Case& c) { c.args.k.dtype = static_cast<DType>(3); }},
          {"k.data is null", [](Case& c) { c.args.k.data = nullptr; }},
          {"v.data is null", [](Case& c) { c.args.v.data = nullptr; }},
          {"v.data is 2 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.args.v.data = shifted(c.v.data(), 2); }},
          {"k.strides[2] is 2, must be 1", [](Case& c) { c.args.k.strides[2] = 2; }},
          {"v.strides[0] is 0, must be positive", [](Case& c) { c.args.v.strides[0] = 0; }},
          {"k.device is cuda, kv.device is cpu", [](Case& c) { c.args.k.device = Device::kCuda; }},
          {"v.device is cuda, kv.device is cpu", [](Case& c) { c.args.v.device = Device::kCuda; }},
          {"kv.k overlaps k", [](Case& c) { c.args.k.data = c.cache_k.data() + 16; }},
          {"kv.v overlaps v", [](Case& c) { c.args.v.data = c.cache_v.data(); }},
          {"kv.v overlaps k", [](Case& c) { c.args.k.data = c.cache_v.data(); }},
      });
}

TEST_CASE("append_kv refuses caches that it cannot write") {
  check_refused(kDense, {
                            {"kv.k is null", [](Case& c) { c.args.kv.k = nullptr; }},
                            {"kv.v is 1 bytes off, must be aligned to 4 (f32)",
                             [](Case& c) { c.args.kv.v = shifted(c.cache_v.data(), 1); }},
                            {"kv.k_strides.token is 0, must be positive",
                             [](Case& c) { c.args.kv.k_strides.token = 0; }},
                            {"kv.k_strides.head is 7, must be at least 8 to keep rows apart",
                             [](Case& c) { c.args.kv.k_strides.head = 7; }},
                            {"kv.v_strides.token is 11, must be at least 12 to keep rows apart",
                             [](Case& c) { c.args.kv.v_strides.token = 11; }},
                            {"kv.k_strides.page is 63, must be at least 64 to keep rows apart",
                             [](Case& c) { c.args.kv.k_strides.page = 63; }},
                            {"kv.num_tokens is 0, must be 40 (10 pages of 4)",
                             [](Case& c) { c.args.kv.num_tokens = 0; }},
                            {"kv.v is kv.k, which needs v_is_k_prefix",
                             [](Case& c) { c.args.kv.v = c.args.kv.k; }},
                        });
}

TEST_CASE("append_kv refuses tokens that do not fit into their pages") {
  check_refused(
      kDense,
      {
          {"cu_seqlens_new and slot_mapping are both empty, one must say where 5 new tokens go",
           [](Case& c) { c.cu_new.clear(); }},
          {"cu_seqlens_new[0] is 1, must be 0", [](Case& c) { c.cu_new[0] = 1; }},
          {"cu_seqlens_new[2] is 2, must be at least 3 (the entry before it)",
           [](Case& c) { c.cu_new[2] = 2; }},
          {"cu_seqlens_new[3] is 6, k has 5 tokens", [](Case& c) { c.cu_new[3] = 6; }},
          {"cu_seqlens_new[3] is 4, k has 5 tokens", [](Case& c) { c.cu_new[3] = 4; }},
          {"cache_seqlens has 2 entries, must have 3 (batch)",
           [](Case& c) { c.cache_seqlens.pop_back(); }},
          {"cache_seqlens[1] is -1, must not be negative",
           [](Case& c) { c.cache_seqlens[1] = -1; }},
          {"cache_seqlens[2] is 7 and 2 new tokens follow, the block_table holds 8 keys (2 pages "
           "of 4)",
           [](Case& c) { c.cache_seqlens[2] = 7; }},
          {"cache_seqlens[1] is 9 and 0 new tokens follow, the block_table holds 8 keys (2 pages "
           "of 4)",
           [](Case& c) { c.cache_seqlens[1] = 9; }},
          {"cache_seqlens[0] is 2147483647 and 3 new tokens follow, the block_table holds 8 keys "
           "(2 pages of 4)",
           [](Case& c) { c.cache_seqlens[0] = std::numeric_limits<int32_t>::max(); }},
          {"block_table[2][1] is 10, the cache has 10 pages", [](Case& c) { c.pages[5] = 10; }},
          {"block_table[0][0] is -1, the cache has 10 pages", [](Case& c) { c.pages[0] = -1; }},
          {"block_table[0][1] is 2147483647, the cache has 10 pages",
           [](Case& c) { c.pages[1] = std::numeric_limits<int32_t>::max(); }},
          {"block_table[2][0] is -7, the cache has 10 pages",
           [](Case& c) { c.cache_seqlens[2] = 3; }},
          {"block_table.page_size is 8, kv.page_size is 4", [](Case& c) { c.page_size = 8; }},
          {"block_table.page_size is 0, kv.page_size is 4", [](Case& c) { c.page_size = 0; }},
          {"block_table.pages has 5 entries, must have 6 (3 rows of 2 pages, row stride 2)",
           [](Case& c) { c.pages.pop_back(); }},
          {"cu_seqlens_k is given, kv.layout is nhd",
           [](Case& c) {
             c.cu_k = {0, 6, 12, 20};
           }},
      });
  check_refused(
      [](Case& c) { c.use_csr(); },
      {
          {"block_table.indptr has 3 entries, must have 4 (batch + 1)",
           [](Case& c) { c.indptr.pop_back(); }},
          {"cache_seqlens[1] is 1 and 0 new tokens follow, the block_table holds 0 keys (0 pages "
           "of 4)",
           [](Case& c) { c.cache_seqlens[1] = 1; }},
          {"block_table[2][1] is -9, the cache has 10 pages", [](Case& c) { c.pages[3] = -9; }},
      });
}

TEST_CASE("append_kv refuses tokens that do not fit into packed sequences") {
  check_refused(
      [](Case& c) { c.use_packed(); },
      {
          {"cu_seqlens_k has 3 entries, must have 4 (batch + 1)",
           [](Case& c) { c.cu_k.pop_back(); }},
          {"cu_seqlens_k[3] is 21, kv has 20 keys", [](Case& c) { c.cu_k[3] = 21; }},
          {"cache_seqlens[0] is 4 and 3 new tokens follow, cu_seqlens_k gives the sequence 6 keys",
           [](Case& c) { c.cache_seqlens[0] = 4; }},
          {"block_table is given, kv.layout is packed", [](Case& c) { c.page_size = 4; }},
          {"block_table is given, kv.layout is packed", [](Case& c) { c.pages = {1}; }},
      });
}

TEST_CASE("append_kv refuses bad slot mappings") {
  check_refused(
      [](Case& c) { c.use_slots(); },
      {
          {"slot_mapping has 4 entries, must have 5 (new tokens)",
           [](Case& c) { c.slots.pop_back(); }},
          {"slot_mapping[2] is 40, must be -1 (skip) or 0..39 (slots of the cache)",
           [](Case& c) { c.slots[2] = 40; }},
          {"slot_mapping[4] is -2, must be -1 (skip) or 0..39 (slots of the cache)",
           [](Case& c) { c.slots[4] = -2; }},
          {"slot_mapping[0] is 9223372036854775807, must be -1 (skip) or 0..39 (slots of the "
           "cache)",
           [](Case& c) { c.slots[0] = std::numeric_limits<int64_t>::max(); }},
          {"slot_mapping and cu_seqlens_new are both given",
           [](Case& c) {
             c.cu_new = {0, 5};
           }},
          {"slot_mapping and cache_seqlens are both given", [](Case& c) { c.cache_seqlens = {0}; }},
          {"slot_mapping and cu_seqlens_k are both given",
           [](Case& c) {
             c.cu_k = {0, 5};
           }},
          {"slot_mapping and block_table are both given", [](Case& c) { c.pages = {1}; }},
          {"rotary_positions is empty, slot_mapping with rotary needs it",
           [](Case& c) { c.use_rotary(); }},
      });
}

TEST_CASE("append_kv refuses positions that the rotary tables do not reach") {
  const Prepare by_length = [](Case& c) { c.use_rotary(); };  // positions 3, 4, 5 and 6, 7
  check_refused(
      by_length,
      {
          {"rotary.max_position is 7, sequence 2 has a new key at position 7",
           [](Case& c) { c.args.rotary.max_position = 7; }},
          {"rotary.max_position is 5, sequence 0 has a new key at position 5",
           [](Case& c) { c.args.rotary.max_position = 5; }},
          {"rotary.rotary_dim is 10, must be even and 2..8 (head_dim)",
           [](Case& c) { c.args.rotary.rotary_dim = 10; }},
          {"rotary.rotary_dim is 3, must be even and 2..8 (head_dim)",
           [](Case& c) { c.args.rotary.rotary_dim = 3; }},
          {"rotary.cos is given without rotary.sin", [](Case& c) { c.args.rotary.sin = nullptr; }},
          {"rotary.sin is given without rotary.cos", [](Case& c) { c.args.rotary.cos = nullptr; }},
          {"rotary.dtype is 3, not a DType",
           [](Case& c) { c.args.rotary.dtype = static_cast<DType>(3); }},
          {"rotary.cos is 2 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.args.rotary.cos = shifted(c.angles.data(), 2); }},
          {"kv.k overlaps rotary.sin", [](Case& c) { c.args.rotary.sin = c.cache_k.data(); }},
      });
  const Prepare by_list = [](Case& c) {
    c.use_slots();
    c.use_rotary();
    c.positions = {7, -1, 0, 1, 2};  // the second token is skipped, so its position is not read
  };
  const std::vector<Row> list_rows = {
      {"rotary_positions has 4 entries, must have 5 (new tokens)",
       [](Case& c) { c.positions.pop_back(); }},
      {"rotary_positions[3] is 8, rotary.max_position is 8", [](Case& c) { c.positions[3] = 8; }},
      {"rotary_positions[4] is -1, rotary.max_position is 8", [](Case& c) { c.positions[4] = -1; }},
  };
  check_refused(by_list, list_rows);
  check_refused(
      [](Case& c) {
        c.use_rotary();
        c.positions = {7, 6, 0, 1, 2};
      },
      list_rows);
}

TEST_CASE("append_kv needs no v where V is a prefix of K") {
  Context context = reference_context();
  Case c;
  c.args.kv = KvView::mla(c.cache_k.data(), DType::kF32, kPages, kPageSize, 8, 6);
  c.args.k = dense_tensor(std::as_const(c.k).data(), DType::kF32, 5, 1, 8);
  c.args.v = {};
  CHECK(c.append(context).message() == "");
  CHECK_FALSE(c.untouched());
}

TEST_CASE("appending nothing is fine and needs no memory") {
  Context context = reference_context();
  Case c;
  c.args.k = dense_tensor(static_cast<const void*>(nullptr), DType::kF32, 0, 2, 8);
  c.args.v = dense_tensor(static_cast<const void*>(nullptr), DType::kF32, 0, 2, 6);
  c.cu_new = {0, 0, 0, 0};
  CHECK(c.append(context).message() == "");
  c.use_slots();
  c.slots.clear();
  CHECK(c.append(context).message() == "");
  CHECK(c.untouched());
}

TEST_CASE("appending on a device that no backend has is not supported") {
  Context context = reference_context();
  Case c;
  c.args.k.device = c.args.v.device = c.args.kv.device = Device::kCuda;
  const Status status = c.append(context);
  CHECK(status.code() == Code::kUnsupported);
  CHECK(status.message() == "kv.device is cuda, the reference backend works in host memory only");
  CHECK(c.untouched());
}

}  // namespace
}  // namespace attnrt
