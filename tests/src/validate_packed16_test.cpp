// SPDX-License-Identifier: Apache-2.0
// What packed16 asks of a view and of a batch; every refusal by name.
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/attnrt.hpp"
#include "tests/support/aligned_bytes.hpp"
#include "tests/support/check.hpp"

namespace attnrt {
namespace {

constexpr int32_t kDim = 40;   // padded to 48
constexpr int32_t kDimV = 24;  // padded to 32
constexpr int64_t kHead = 32 * (48 + 32);

// Two sequences of 33 and 20 keys in pages of 32.
struct Case {
  test::AlignedBytes cache{
      static_cast<size_t>(packed16_bytes(DType::kBF16, 6, 32, 2, kDim, kDimV))};
  std::vector<float> q = std::vector<float>(4 * 2 * kDim);
  std::vector<float> out = std::vector<float>(4 * 2 * kDimV);
  std::vector<float> k = std::vector<float>(2 * 2 * kDim);
  std::vector<float> v = std::vector<float>(2 * 2 * kDimV);
  std::vector<int32_t> cu_q{0, 1, 2}, seqused{33, 20}, leftpad, table{0, 3, 1, 2};
  std::vector<int64_t> slots{5, 64};
  KvView kv = KvView::packed16(cache.data(), DType::kBF16, 6, 32, 2, kDim, kDimV);
  int32_t page_size = 32;

  Status plan_and_attend(Context& context) {
    AttentionSpec spec;
    spec.num_heads_q = 2;
    spec.num_heads_kv = 2;
    spec.head_dim = kDim;
    spec.head_dim_v = kDimV;
    SequenceBatch batch;
    batch.cu_seqlens_q = cu_q;
    batch.seqused_k = seqused;
    batch.leftpad_k = leftpad;
    batch.block_table = BlockTable::dense(table, 2, page_size);
    Plan plan;
    if (Status s = make_plan(spec, batch, plan); !s.ok()) return s;
    AttendArgs args;
    args.q = dense_tensor(std::as_const(q).data(), DType::kF32, 2, 2, kDim);
    args.out = dense_tensor(out.data(), DType::kF32, 2, 2, kDimV);
    args.kv = kv;
    return attend(context, plan, args);
  }
  Status append(Context& context) {
    AppendArgs args;
    args.k = dense_tensor(std::as_const(k).data(), DType::kF32, 2, 2, kDim);
    args.v = dense_tensor(std::as_const(v).data(), DType::kF32, 2, 2, kDimV);
    args.kv = kv;
    args.slot_mapping = slots;
    return append_kv(context, args);
  }
};

Context reference_context() {
  ContextOptions options;
  options.backend = "reference";
  Context context;
  REQUIRE(Context::create(options, context).ok());
  return context;
}

void* shifted(void* data, int64_t bytes) { return static_cast<std::byte*>(data) + bytes; }

TEST_CASE("packed16: good views are taken") {
  Context context = reference_context();
  const auto taken = [&](auto change) {
    Case c;
    change(c);
    CHECK(c.plan_and_attend(context).message() == "");
    CHECK(c.append(context).message() == "");
  };
  taken([](Case&) {});
  taken([](Case& c) { c.leftpad = {16, 0}; });
  taken([](Case& c) { c.leftpad = {32, 20}, c.seqused = {33, 20}; });  // no keys: never read
  taken([](Case& c) { c.kv.k_strides.token = -7; });                   // unused
  // K of all pages first, then V.
  taken([](Case& c) {
    c.kv.k_strides = {2 * 32 * 48, 0, 32 * 48};
    c.kv.v_strides = {2 * 32 * 32, 0, 32 * 32};
    c.kv.v = shifted(c.kv.k, 6 * 2 * 32 * 48 * 2);
  });
  // Pages of a head one after the other.
  taken([](Case& c) {
    c.kv.k_strides = {kHead, 0, 6 * kHead};
    c.kv.v_strides = c.kv.k_strides;
  });
  // Every second page.
  taken([](Case& c) {
    c.kv.num_pages = 3;
    c.kv.num_tokens = 96;
    c.kv.k_strides.page = c.kv.v_strides.page = 4 * kHead;
    c.table = {0, 2, 1, 1};
  });
}

TEST_CASE("packed16: bad views are refused by attend and append_kv") {
  Context context = reference_context();
  struct Bad {
    std::string message;
    void (*change)(Case&);
  };
  const std::vector<Bad> list = {
      {"kv.page_size is 24, must be a multiple of 16 with layout packed16",
       [](Case& c) {
         c.kv.page_size = c.page_size = 24;
         c.kv.num_tokens = 6 * 24;
       }},
      {"kv.v_is_k_prefix is set with layout packed16, which stores V apart from K",
       [](Case& c) { c.kv.v_is_k_prefix = true; }},
      {"kv.k is 32 bytes off, must be aligned to 64 with layout packed16",
       [](Case& c) { c.kv.k = shifted(c.kv.k, 32); }},
      {"kv.v is 2 bytes off, must be aligned to 64 with layout packed16",
       [](Case& c) { c.kv.v = shifted(c.kv.v, 2); }},
      {"kv.k is null", [](Case& c) { c.kv.k = nullptr; }},
      {"kv.v is null", [](Case& c) { c.kv.v = nullptr; }},
      {"kv.k_strides.head is 2576, must be a multiple of 32 (64 bytes) with layout packed16",
       [](Case& c) { c.kv.k_strides.head = kHead + 16; }},
      {"kv.v_strides.page is 5128, must be a multiple of 32 (64 bytes) with layout packed16",
       [](Case& c) { c.kv.v_strides.page = 2 * kHead + 8; }},
      {"kv.k_strides.head is 0, must be positive", [](Case& c) { c.kv.k_strides.head = 0; }},
      {"kv.k_strides.page is -5120, must be positive",
       [](Case& c) { c.kv.k_strides.page = -2 * kHead; }},
      {"kv.k_strides.head is 1504, must be at least 1536 to keep rows apart",
       [](Case& c) { c.kv.k_strides.head = 32 * 47; }},
      {"kv.v_strides.page is 3072, must be at least 3584 to keep rows apart",
       [](Case& c) { c.kv.v_strides.page = 3072; }},
      {"kv.k_strides.head is 1536, must be at least 2560 to keep rows apart",
       [](Case& c) { c.kv.k_strides.head = c.kv.v_strides.head = 32 * 48; }},
      {"kv.k_strides.page is 4608, must be at least 5120 to keep rows apart",
       [](Case& c) { c.kv.k_strides.page = c.kv.v_strides.page = 2 * kHead - 512; }},
      {"kv.v_strides.head is 2592, must be 2560 (k_strides.head) where K and V share pages",
       [](Case& c) { c.kv.v_strides.head += 32; }},
      {"kv.v_strides.page is 5152, must be 5120 (k_strides.page) where K and V share pages",
       [](Case& c) { c.kv.v_strides.page += 32; }},
      {"kv.v overlaps kv.k: it must stand at least 1536 elements behind it with layout packed16",
       [](Case& c) { c.kv.v = c.kv.k; }},
      {"kv.v overlaps kv.k: it must stand at least 1536 elements behind it with layout packed16",
       [](Case& c) { std::swap(c.kv.k, c.kv.v); }},
      {"kv does not fit into memory: its strides reach beyond 2^63 bytes",
       [](Case& c) { c.kv.k_strides.page = std::numeric_limits<int64_t>::max() / 64 * 32; }},
  };
  for (const Bad& bad : list) {
    Case c;
    bad.change(c);
    CHECK(c.plan_and_attend(context).message() == bad.message);
    const test::AlignedBytes before = c.cache;
    CHECK(c.append(context).message() == bad.message);
    CHECK(c.cache == before);
  }
}

TEST_CASE("packed16: f32 strides are whole lines of 16 elements") {
  Context context = reference_context();
  Case c;
  c.kv = KvView::packed16(c.cache.data(), DType::kF32, 3, 32, 2, kDim, kDimV);
  c.table = {0, 1, 2, 2};
  CHECK(c.plan_and_attend(context).message() == "");
  c.kv.num_pages = 2;
  c.kv.num_tokens = 64;
  c.table = {0, 1, 1, 1};
  c.kv.k_strides.page = c.kv.v_strides.page = 2 * kHead + 16;
  CHECK(c.plan_and_attend(context).message() == "");
  c.kv.k_strides.page = c.kv.v_strides.page = 2 * kHead + 8;
  CHECK(c.plan_and_attend(context).message() ==
        "kv.k_strides.page is 5128, must be a multiple of 16 (64 bytes) with layout packed16");
}

TEST_CASE("packed16: key 0 stands at the start of a group") {
  Context context = reference_context();
  Case c;
  c.leftpad = {0, 5};
  CHECK(c.plan_and_attend(context).message() ==
        "leftpad_k[1] is 5, must be a multiple of 16 with kv.layout packed16");
  c.leftpad = {17, 5};
  CHECK(c.plan_and_attend(context).message() ==
        "leftpad_k[0] is 17, must be a multiple of 16 with kv.layout packed16");
  c.kv = KvView::paged(c.cache.data(), c.cache.data() + 4 * 2 * 32 * kDim * 2, DType::kBF16,
                       KvLayout::kNHD, 4, 32, 2, kDim, kDimV);
  CHECK(c.plan_and_attend(context).message() == "");
}

TEST_CASE("packed16: a plan made again forgets the leftpad of the last batch") {
  Context context = reference_context();
  Case c;
  AttentionSpec spec;
  spec.num_heads_q = spec.num_heads_kv = 2;
  spec.head_dim = kDim;
  spec.head_dim_v = kDimV;
  SequenceBatch batch;
  batch.cu_seqlens_q = c.cu_q;
  batch.seqused_k = c.seqused;
  batch.block_table = BlockTable::dense(c.table, 2, 32);
  AttendArgs args;
  args.q = dense_tensor(std::as_const(c.q).data(), DType::kF32, 2, 2, kDim);
  args.out = dense_tensor(c.out.data(), DType::kF32, 2, 2, kDimV);
  args.kv = c.kv;
  const std::vector<int32_t> odd{1, 0};
  Plan plan;
  for (int round = 0; round < 3; ++round) {
    batch.leftpad_k = odd;
    REQUIRE(make_plan(spec, batch, plan).ok());
    CHECK_FALSE(attend(context, plan, args).ok());
    batch.leftpad_k = {};
    REQUIRE(make_plan(spec, batch, plan).ok());
    CHECK(attend(context, plan, args).message() == "");
  }
}

TEST_CASE("packed16: flash_attn_with_kvcache names its own cache_leftpad") {
  Context context = reference_context();
  Case c;
  const std::vector<int32_t> leftpad{0, 3};
  FlashAttnKvCacheArgs args;
  args.batch_size = 2;
  args.q = dense_tensor(std::as_const(c.q).data(), DType::kF32, 2, 2, kDim);
  args.out = dense_tensor(c.out.data(), DType::kF32, 2, 2, kDimV);
  args.kv_cache = c.kv;
  args.cache_seqlens = c.seqused;
  args.block_table = c.table;
  args.max_pages = 2;
  CHECK(flash_attn_with_kvcache(context, args).message() == "");
  args.cache_leftpad = leftpad;
  CHECK(flash_attn_with_kvcache(context, args).message() ==
        "cache_leftpad[1] is 3, must be a multiple of 16 with kv_cache.layout packed16");
}

}  // namespace
}  // namespace attnrt
