// SPDX-License-Identifier: Apache-2.0
// What the flash_attn calls refuse, by the exact message and the caller's own names for arguments,
// and that a refused call writes neither outputs nor cache.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/flash_attn.hpp"

namespace attnrt {
namespace {

constexpr float kPattern = 1234.5f;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Context reference_context() {
  ContextOptions options;
  options.backend = "reference";
  Context context;
  REQUIRE(Context::create(options, context).message() == "");
  return context;
}

void* shifted(void* p, int bytes) { return static_cast<char*>(p) + bytes; }

// Two sequences with two query tokens each, 4 heads on 2, dims 8 and 6. Both calls share it.
struct Tensors {
  std::vector<float> q = std::vector<float>(4 * 4 * 8, 0.5f);
  std::vector<float> k = std::vector<float>(6 * 2 * 8, 0.5f);
  std::vector<float> v = std::vector<float>(6 * 2 * 6, 0.25f);
  std::vector<float> cache_k = std::vector<float>(40 * 2 * 8, kPattern);
  std::vector<float> cache_v = std::vector<float>(40 * 2 * 6, kPattern);
  std::vector<float> out = std::vector<float>(4 * 4 * 6, kPattern);
  std::vector<float> lse = std::vector<float>(4 * 4, kPattern);
  std::vector<float> angles = std::vector<float>(16 * 4, 0.5f);
  std::vector<float> sinks = {1, 2, 3, 4};
  std::vector<int32_t> cu_q = {0, 2, 4};
  std::vector<int32_t> cu_k = {0, 5, 12};
  std::vector<int32_t> lengths = {6, 3};
  std::vector<int32_t> table = {7, 2, -7, 9, 4, -7};  // rows of 2 pages of 4, stride 3
  std::vector<int32_t> cache_rows = {4, 1};
  std::vector<int32_t> leftpad = {1, 3};

  [[nodiscard]] ConstTensorView q_view() const {
    return dense_tensor(q.data(), DType::kF32, 4, 4, 8);
  }
  [[nodiscard]] TensorView out_view() { return dense_tensor(out.data(), DType::kF32, 4, 4, 6); }
  [[nodiscard]] KvView pages(int32_t page_size) {
    return KvView::paged(cache_k.data(), cache_v.data(), DType::kF32, KvLayout::kNHD,
                         40 / page_size, page_size, 2, 8, 6);
  }
  [[nodiscard]] bool untouched() const {
    const auto is_pattern = [](float x) { return x == kPattern; };
    return std::ranges::all_of(out, is_pattern) && std::ranges::all_of(lse, is_pattern) &&
           std::ranges::all_of(cache_k, is_pattern) && std::ranges::all_of(cache_v, is_pattern);
  }
};

struct VarlenCase : Tensors {
  FlashAttnVarlenArgs args;

  VarlenCase() {
    args.q = q_view();
    args.out = out_view();
    args.softmax_lse.data = lse.data();
    args.cu_seqlens_q = cu_q;
  }
  VarlenCase(const VarlenCase&) = delete;
  VarlenCase& operator=(const VarlenCase&) = delete;

  void use_packed() {
    args.kv = KvView::packed(cache_k.data(), cache_v.data(), DType::kF32, 12, 2, 8, 6);
    args.cu_seqlens_k = cu_k;
  }
  void use_pages() {
    args.kv = pages(4);
    args.seqused_k = lengths;
    args.block_table = table;
    args.max_pages = 2;
    args.block_table_stride = 3;
  }
  [[nodiscard]] Status call(Context& context) const { return flash_attn_varlen(context, args); }
};

struct CacheCase : Tensors {
  FlashAttnKvCacheArgs args;

  CacheCase() {
    args.q = q_view();
    args.out = out_view();
    args.softmax_lse.data = lse.data();
    args.batch_size = 2;
    args.cache_seqlens = lengths;
  }
  CacheCase(const CacheCase&) = delete;
  CacheCase& operator=(const CacheCase&) = delete;

  // Rows of 8 keys, with one new key each, or pages of 4 with two new keys each.
  void use_rows() {
    args.kv_cache = pages(8);
    args.cache_batch_idx = cache_rows;
    append(2);
  }
  void use_pages() {
    args.kv_cache = pages(4);
    args.block_table = table;
    args.max_pages = 2;
    args.block_table_stride = 3;
    append(4);
  }
  void append(int64_t tokens) {
    args.k = dense_tensor(std::as_const(k).data(), DType::kF32, tokens, 2, 8);
    args.v = dense_tensor(std::as_const(v).data(), DType::kF32, tokens, 2, 6);
  }
  void use_rotary() {
    args.rotary_cos = angles.data();
    args.rotary_sin = angles.data();
    args.rotary_seqlen = 16;
    args.rotary_dim = 8;
  }
  [[nodiscard]] Status call(Context& context) const {
    return flash_attn_with_kvcache(context, args);
  }
};

template <class Case>
struct Row {
  std::string message;
  std::function<void(Case&)> spoil;
};

template <class Case>
void check_refused(void (*prepare)(Case&), const std::vector<Row<Case>>& rows) {
  Context context = reference_context();
  Case good;
  prepare(good);
  REQUIRE(good.call(context).message() == "");
  CHECK_FALSE(good.untouched());
  for (const Row<Case>& row : rows) {
    CAPTURE(row.message);
    Case bad;
    prepare(bad);
    row.spoil(bad);
    const Status status = bad.call(context);
    CHECK(status.code() == Code::kInvalidArgument);
    CHECK(status.message() == row.message);
    CHECK(bad.untouched());
  }
}

TEST_CASE("flash_attn_varlen refuses what does not fit packed keys") {
  check_refused<VarlenCase>(
      [](VarlenCase& c) { c.use_packed(); },
      {
          {"q.shape[1] is 0, must be 1..2147483647", [](auto& c) { c.args.q.shape[1] = 0; }},
          {"q.shape[1] is 3, must be a multiple of 2 (kv.num_heads_kv)",
           [](auto& c) { c.args.q.shape[1] = 3; }},
          {"q.shape[2] is 6, must be 8 (kv.head_dim)", [](auto& c) { c.args.q.shape[2] = 6; }},
          {"q.shape[0] is 5, must be 4 (query tokens of the plan)",
           [](auto& c) { c.args.q.shape[0] = 5; }},
          {"q.data is null", [](auto& c) { c.args.q.data = nullptr; }},
          {"kv.k is null", [](auto& c) { c.args.kv.k = nullptr; }},
          {"kv.num_heads_kv is 0, must be positive", [](auto& c) { c.args.kv.num_heads_kv = 0; }},
          {"window_size_left is -2, must be -1 (all) or more",
           [](auto& c) { c.args.window_size_left = -2; }},
          {"window_size_right is -9, must be -1 (all) or more",
           [](auto& c) { c.args.window_size_right = -9; }},
          {"softcap is nan, must be finite and not negative",
           [](auto& c) { c.args.softcap = kNan; }},
          {"softmax_scale is nan, must be finite", [](auto& c) { c.args.softmax_scale = kNan; }},
          {"cu_seqlens_q is empty, must have batch + 1 entries, the first 0",
           [](auto& c) { c.args.cu_seqlens_q = {}; }},
          {"cu_seqlens_q[2] is 1, must be at least 2 (the entry before it)",
           [](auto& c) { c.cu_q[2] = 1; }},
          {"cu_seqlens_k[2] is 4, must be at least 5 (the entry before it)",
           [](auto& c) { c.cu_k[2] = 4; }},
          {"cu_seqlens_k reaches key 13, kv has 12 keys", [](auto& c) { c.cu_k[2] = 13; }},
          {"block_table is given, kv.layout is packed",
           [](auto& c) { c.args.block_table = c.table; }},
          {"block_table is given, kv.layout is packed", [](auto& c) { c.args.max_pages = 2; }},
          {"sinks has 3 entries, must have 4 (heads)",
           [](auto& c) { c.args.sinks = std::span(c.sinks).first(3); }},
          {"alibi_slopes has 3 entries, must have 4 (heads) or 8 (batch x heads)",
           [](auto& c) { c.args.alibi_slopes = std::span(c.sinks).first(3); }},
          {"out.shape[2] is 8, must be 6 (head_dim_v)", [](auto& c) { c.args.out.shape[2] = 8; }},
          {"softmax_lse.base is 4, not an LseBase",
           [](auto& c) { c.args.softmax_lse.base = static_cast<LseBase>(4); }},
          {"softmax_lse overlaps out", [](auto& c) { c.args.softmax_lse.data = c.out.data(); }},
      });
}

TEST_CASE("flash_attn_varlen refuses what does not fit pages") {
  check_refused<VarlenCase>(
      [](VarlenCase& c) { c.use_pages(); },
      {
          {"max_pages is -1, must not be negative", [](auto& c) { c.args.max_pages = -1; }},
          {"block_table_stride is 1, must be 0 or at least 2 (max_pages)",
           [](auto& c) { c.args.block_table_stride = 1; }},
          {"block_table has 4 entries, must have 5 (2 rows of 2 pages, row stride 3)",
           [](auto& c) { c.args.block_table = std::span(c.table).first(4); }},
          {"block_table[0][1] is 10, the cache has 10 pages", [](auto& c) { c.table[1] = 10; }},
          {"block_table[1][0] is -1, must not be negative", [](auto& c) { c.table[3] = -1; }},
          {"seqused_k[0] is 9, the block_table holds 8 keys (2 pages of 4)",
           [](auto& c) { c.lengths[0] = 9; }},
          {"seqused_k is empty, a dense block_table needs it",
           [](auto& c) { c.args.seqused_k = {}; }},
          {"cu_seqlens_k and block_table are both given, K is either packed or paged",
           [](auto& c) { c.args.cu_seqlens_k = c.cu_k; }},
          {"kv.page_size is 0, must be positive with layout nhd",
           [](auto& c) { c.args.kv.page_size = 0; }},
      });
}

TEST_CASE("flash_attn_with_kvcache refuses bad queries and new keys") {
  check_refused<CacheCase>(
      [](CacheCase& c) { c.use_pages(); },
      {
          {"batch_size is -1, must not be negative", [](auto& c) { c.args.batch_size = -1; }},
          {"q.shape[0] is 4, must be a multiple of 3 (batch_size) without cu_seqlens_q",
           [](auto& c) { c.args.batch_size = 3; }},
          {"q.shape[0] is 4, must be a multiple of 0 (batch_size) without cu_seqlens_q",
           [](auto& c) { c.args.batch_size = 0; }},
          {"cu_seqlens_q has 2 entries, must have 3 (batch + 1)",
           [](auto& c) { c.args.cu_seqlens_q = std::span(c.cu_q).first(2); }},
          {"cu_seqlens_q[2] is 3, q has 4 tokens",
           [](auto& c) {
             c.cu_q[2] = 3;
             c.args.cu_seqlens_q = c.cu_q;
           }},
          {"q.shape[2] is 6, must be 8 (kv_cache.head_dim)",
           [](auto& c) { c.args.q.shape[2] = 6; }},
          {"k.shape[0] is 3, must be a multiple of 2 (batch_size) without cu_seqlens_k_new",
           [](auto& c) { c.append(3); }},
          {"cu_seqlens_k_new[2] is 5, k has 4 tokens",
           [](auto& c) {
             c.cu_k = {0, 1, 5};
             c.args.cu_seqlens_k_new = c.cu_k;
           }},
          {"k.data is null", [](auto& c) { c.args.k.data = nullptr; }},
          {"v.data is null", [](auto& c) { c.args.v.data = nullptr; }},
          {"v is given without k", [](auto& c) { c.args.k = {}; }},
          {"v.shape[0] is 2, must be 4 (new tokens of k)", [](auto& c) { c.args.v.shape[0] = 2; }},
          {"cu_seqlens_k_new is given without k",
           [](auto& c) {
             c.args.k = c.args.v = {};
             c.args.cu_seqlens_k_new = c.cu_q;
           }},
          {"kv_cache.k is null", [](auto& c) { c.args.kv_cache.k = nullptr; }},
          {"kv_cache.v_strides.token is 11, must be at least 12 to keep rows apart",
           [](auto& c) { c.args.kv_cache.v_strides.token = 11; }},
          {"kv_cache.layout is packed, must be nhd, hnd or packed16",
           [](auto& c) {
             c.args.kv_cache =
                 KvView::packed(c.cache_k.data(), c.cache_v.data(), DType::kF32, 12, 2, 8, 6);
           }},
          {"window_size_right is -2, must be -1 (all) or more",
           [](auto& c) { c.args.window_size_right = -2; }},
          {"softcap is -1, must be finite and not negative",
           [](auto& c) { c.args.softcap = -1.0f; }},
          {"sinks has 2 entries, must have 4 (heads)",
           [](auto& c) { c.args.sinks = std::span(c.sinks).first(2); }},
      });
}

TEST_CASE("flash_attn_with_kvcache refuses bad lengths and tables") {
  check_refused<CacheCase>(
      [](CacheCase& c) { c.use_pages(); },
      {
          {"cache_seqlens has 1 entries, must have 2 (batch)",
           [](auto& c) { c.args.cache_seqlens = std::span(c.lengths).first(1); }},
          {"cache_seqlens[1] is -1, must not be negative", [](auto& c) { c.lengths[1] = -1; }},
          {"cache_seqlens[0] is 7 and 2 new tokens follow, the block_table holds 8 keys (2 pages "
           "of 4)",
           [](auto& c) { c.lengths[0] = 7; }},
          {"cache_seqlens[0] is 9, the block_table holds 8 keys (2 pages of 4)",
           [](auto& c) {
             c.args.k = c.args.v = {};
             c.lengths[0] = 9;
           }},
          {"cache_seqlens[0] is 2147483647 and 2 new tokens follow, the block_table holds 8 keys "
           "(2 pages of 4)",
           [](auto& c) { c.lengths[0] = std::numeric_limits<int32_t>::max(); }},
          {"cache_leftpad has 1 entries, must have 2 (batch)",
           [](auto& c) { c.args.cache_leftpad = std::span(c.leftpad).first(1); }},
          {"cache_leftpad[1] is 4, must be 0..3 (cache_seqlens)",
           [](auto& c) {
             c.leftpad[1] = 4;
             c.args.cache_leftpad = c.leftpad;
           }},
          {"cache_leftpad[0] is -1, must be 0..6 (cache_seqlens)",
           [](auto& c) {
             c.leftpad[0] = -1;
             c.args.cache_leftpad = c.leftpad;
           }},
          {"cache_batch_idx and block_table are both given",
           [](auto& c) { c.args.cache_batch_idx = c.cache_rows; }},
          {"block_table has 4 entries, must have 5 (2 rows of 2 pages, row stride 3)",
           [](auto& c) { c.args.block_table = std::span(c.table).first(4); }},
          {"block_table[1][1] is 10, the cache has 10 pages", [](auto& c) { c.table[4] = 10; }},
          {"block_table[0][1] is -1, must not be negative", [](auto& c) { c.table[1] = -1; }},
          {"max_pages is -2, must not be negative", [](auto& c) { c.args.max_pages = -2; }},
      });
  check_refused<CacheCase>(
      [](CacheCase& c) { c.use_rows(); },
      {
          {"cache_batch_idx has 1 entries, must have 2 (batch)",
           [](auto& c) { c.args.cache_batch_idx = std::span(c.cache_rows).first(1); }},
          {"cache_batch_idx[1] is 5, kv_cache has 5 rows", [](auto& c) { c.cache_rows[1] = 5; }},
          {"cache_batch_idx[0] is -1, kv_cache has 5 rows", [](auto& c) { c.cache_rows[0] = -1; }},
          {"batch_size is 2, kv_cache has 1 rows and cache_batch_idx is empty",
           [](auto& c) {
             c.args.cache_batch_idx = {};
             c.args.kv_cache.num_pages = 1;
             c.args.kv_cache.num_tokens = 8;
           }},
          {"cache_seqlens[0] is 8 and 1 new tokens follow, a row of kv_cache holds 8 keys",
           [](auto& c) { c.lengths[0] = 8; }},
      });
}

TEST_CASE("flash_attn_with_kvcache refuses rotary tables that do not fit") {
  check_refused<CacheCase>(
      [](CacheCase& c) {  // positions up to 7 for keys and, by row, for queries
        c.use_pages();
        c.use_rotary();
        c.args.causal = true;
      },
      {
          {"rotary_cos is given without rotary_sin", [](auto& c) { c.args.rotary_sin = nullptr; }},
          {"rotary_sin is given without rotary_cos", [](auto& c) { c.args.rotary_cos = nullptr; }},
          {"rotary_cos is given without k", [](auto& c) { c.args.k = c.args.v = {}; }},
          {"rotary_dim is 5, must be even and 2..8 (head_dim)",
           [](auto& c) { c.args.rotary_dim = 5; }},
          {"rotary_dtype is 3, not a DType",
           [](auto& c) { c.args.rotary_dtype = static_cast<DType>(3); }},
          {"rotary_cos is 1 bytes off, must be aligned to 4 (f32)",
           [](auto& c) { c.args.rotary_cos = shifted(c.angles.data(), 1); }},
          {"rotary_seqlen is 7, sequence 0 has a query at position 7",
           [](auto& c) { c.args.rotary_seqlen = 7; }},
          {"rotary_seqlen is 7, sequence 0 has a new key at position 7",
           [](auto& c) {
             c.args.rotary_seqlen = 7;
             c.args.causal = false;
           }},
          {"kv_cache.k overlaps rotary_cos", [](auto& c) { c.args.rotary_cos = c.cache_k.data(); }},
      });
}

TEST_CASE("flash_attn_with_kvcache refuses overlaps before it writes the cache") {
  check_refused<CacheCase>(
      [](CacheCase& c) { c.use_pages(); },
      {
          {"out overlaps q", [](auto& c) { c.args.out.data = c.q.data(); }},
          {"out overlaps kv_cache.k", [](auto& c) { c.args.out.data = c.cache_k.data(); }},
          {"out overlaps k", [](auto& c) { c.args.k.data = c.out.data(); }},
          {"softmax_lse overlaps v", [](auto& c) { c.args.softmax_lse.data = c.v.data() + 20; }},
          {"kv_cache.k overlaps k", [](auto& c) { c.args.k.data = c.cache_k.data(); }},
          {"kv_cache.v overlaps q", [](auto& c) { c.args.q.data = c.cache_v.data(); }},
      });
}

}  // namespace
}  // namespace attnrt
