// SPDX-License-Identifier: Apache-2.0
// What attend refuses, by the exact message, and that a refused call writes nothing.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "attnrt/attention.hpp"

namespace attnrt {
namespace {

constexpr int32_t kPages = 10;
constexpr int32_t kPageSize = 4;
constexpr float kPattern = 1234.5f;

// Three query tokens of two sequences, 4 heads on 2, dims 8 and 6. Every buffer that a call may
// write starts as a pattern.
struct Case {
  AttentionSpec spec;
  Plan plan;
  std::vector<int32_t> cu_q = {0, 1, 3};
  std::vector<int32_t> cu_k = {0, 5, 12};
  std::vector<int32_t> used = {5, 7};
  std::vector<int32_t> pages = {0, 9, 3, 4};
  std::vector<float> q = std::vector<float>(3 * 4 * 8, 0.5f);
  std::vector<float> k = std::vector<float>(kPages * kPageSize * 2 * 8, 0.25f);
  std::vector<float> v = std::vector<float>(kPages * kPageSize * 2 * 6, 0.75f);
  std::vector<float> out = std::vector<float>(4 * 4 * 6, kPattern);
  std::vector<float> lse = std::vector<float>(3 * 4, kPattern);
  std::vector<float> acc = std::vector<float>(3 * 4 * 6, kPattern);
  std::vector<float> ref = std::vector<float>(3 * 4, kPattern);
  std::vector<float> sum = std::vector<float>(3 * 4, kPattern);
  std::vector<float> slopes = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<float> sinks = {1, 2, 3, 4};
  std::vector<float> angles = std::vector<float>(8 * 4, 0.5f);
  AttendArgs args;

  Case() {
    spec.num_heads_q = 4;
    spec.num_heads_kv = 2;
    spec.head_dim = 8;
    spec.head_dim_v = 6;
    args.q = dense_tensor(std::as_const(q).data(), DType::kF32, 3, 4, 8);
    args.out = dense_tensor(out.data(), DType::kF32, 3, 4, 6);
    args.lse.data = lse.data();
    args.kv =
        KvView::paged(k.data(), v.data(), DType::kF32, KvLayout::kNHD, kPages, kPageSize, 2, 8, 6);
  }
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  void plan_pages() {
    SequenceBatch batch;
    batch.cu_seqlens_q = cu_q;
    batch.seqused_k = used;
    batch.block_table = BlockTable::dense(pages, 2, kPageSize);
    REQUIRE(make_plan(spec, batch, plan).message() == "");
  }
  void plan_packed() {
    SequenceBatch batch;
    batch.cu_seqlens_q = cu_q;
    batch.cu_seqlens_k = cu_k;
    args.kv = KvView::packed(k.data(), v.data(), DType::kF32, 12, 2, 8, 6);
    REQUIRE(make_plan(spec, batch, plan).message() == "");
  }
  void use_rotary() {
    args.rotary_q.cos = angles.data();
    args.rotary_q.sin = angles.data();
    args.rotary_q.max_position = 8;
    args.rotary_q.rotary_dim = 8;
  }
  void use_partial() { args.partial = {acc.data(), ref.data(), sum.data(), 1}; }

  [[nodiscard]] bool untouched() const {
    const auto is_pattern = [](float x) { return x == kPattern; };
    return std::ranges::all_of(out, is_pattern) && std::ranges::all_of(lse, is_pattern) &&
           std::ranges::all_of(acc, is_pattern) && std::ranges::all_of(ref, is_pattern) &&
           std::ranges::all_of(sum, is_pattern);
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

// `prepare` makes a good case: it must pass unspoiled.
void check_refused(const Prepare& prepare, const std::vector<Row>& rows) {
  Context context = reference_context();
  Case good;
  prepare(good);
  REQUIRE(attend(context, good.plan, good.args).message() == "");
  CHECK_FALSE(good.untouched());
  for (const Row& row : rows) {
    CAPTURE(row.message);
    Case bad;
    prepare(bad);
    row.spoil(bad);
    const Status status = attend(context, bad.plan, bad.args);
    CHECK(status.code() == Code::kInvalidArgument);
    CHECK(status.message() == row.message);
    CHECK(bad.untouched());
  }
}

const Prepare kPaged = [](Case& c) { c.plan_pages(); };

void* shifted(void* p, int bytes) { return static_cast<char*>(p) + bytes; }

TEST_CASE("attend refuses a plan that was never made") {
  Context context = reference_context();
  Case c;
  CHECK(attend(context, c.plan, c.args).message() == "plan is empty, make_plan fills it");
  CHECK(c.untouched());
}

TEST_CASE("attend refuses a bad q") {
  check_refused(
      kPaged,
      {
          {"q.shape[0] is 2, must be 3 (query tokens of the plan)",
           [](Case& c) { c.args.q.shape[0] = 2; }},
          {"q.shape[0] is -3, must be 3 (query tokens of the plan)",
           [](Case& c) { c.args.q.shape[0] = -3; }},
          {"q.shape[1] is 2, must be 4 (num_heads_q)", [](Case& c) { c.args.q.shape[1] = 2; }},
          {"q.shape[2] is 4, must be 8 (head_dim)", [](Case& c) { c.args.q.shape[2] = 4; }},
          {"q.dtype is 3, not a DType", [](Case& c) { c.args.q.dtype = static_cast<DType>(3); }},
          {"q.data is null", [](Case& c) { c.args.q.data = nullptr; }},
          {"q.data is 2 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.args.q.data = shifted(c.q.data(), 2); }},
          {"q.data is 1 bytes off, must be aligned to 2 (bf16)",
           [](Case& c) {
             c.args.q.dtype = DType::kBF16;
             c.args.q.data = shifted(c.q.data(), 1);
           }},
          {"q.strides[2] is 2, must be 1", [](Case& c) { c.args.q.strides[2] = 2; }},
          {"q.strides[0] is 0, must be positive", [](Case& c) { c.args.q.strides[0] = 0; }},
          {"q.strides[1] is -8, must be positive", [](Case& c) { c.args.q.strides[1] = -8; }},
          {"q does not fit into memory: its strides reach beyond 2^63 bytes",
           [](Case& c) { c.args.q.strides[0] = std::numeric_limits<int64_t>::max() / 2; }},
      });
}

TEST_CASE("attend refuses a bad cache") {
  check_refused(
      kPaged,
      {
          {"kv.dtype is 7, not a DType", [](Case& c) { c.args.kv.dtype = static_cast<DType>(7); }},
          {"kv.layout is 3, not a KvLayout",
           [](Case& c) { c.args.kv.layout = static_cast<KvLayout>(3); }},
          {"kv.layout is packed, the plan has a block_table",
           [](Case& c) {
             c.args.kv = KvView::packed(c.k.data(), c.v.data(), DType::kF32, 40, 2, 8, 6);
           }},
          {"kv.page_size is 8, the plan has 4",
           [](Case& c) {
             c.args.kv =
                 KvView::paged(c.k.data(), c.v.data(), DType::kF32, KvLayout::kHND, 5, 8, 2, 8, 6);
           }},
          {"kv.page_size is 0, must be positive with layout nhd",
           [](Case& c) { c.args.kv.page_size = 0; }},
          {"kv.num_pages is -1, must not be negative", [](Case& c) { c.args.kv.num_pages = -1; }},
          {"kv.num_tokens is 41, must be 40 (10 pages of 4)",
           [](Case& c) { c.args.kv.num_tokens = 41; }},
          {"block_table[0][1] is 9, the cache has 9 pages",
           [](Case& c) {
             c.args.kv.num_pages = 9;
             c.args.kv.num_tokens = 36;
           }},
          {"kv.num_heads_kv is 0, must be positive", [](Case& c) { c.args.kv.num_heads_kv = 0; }},
          {"kv.num_heads_kv is 4, the plan has 2", [](Case& c) { c.args.kv.num_heads_kv = 4; }},
          {"kv.head_dim is 0, must be positive", [](Case& c) { c.args.kv.head_dim = 0; }},
          {"kv.head_dim is 6, the plan has 8", [](Case& c) { c.args.kv.head_dim = 6; }},
          {"kv.head_dim_v is -6, must be positive", [](Case& c) { c.args.kv.head_dim_v = -6; }},
          {"kv.head_dim_v is 8, the plan has 6", [](Case& c) { c.args.kv.head_dim_v = 8; }},
          {"kv.head_dim_v is 9, must be at most 8 (head_dim) with v_is_k_prefix",
           [](Case& c) {
             c.args.kv.head_dim_v = 9;
             c.args.kv.v_is_k_prefix = true;
           }},
          {"kv.k is null", [](Case& c) { c.args.kv.k = nullptr; }},
          {"kv.v is null", [](Case& c) { c.args.kv.v = nullptr; }},
          {"kv.k is 2 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.args.kv.k = shifted(c.k.data(), 2); }},
          {"kv.v is 3 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.args.kv.v = shifted(c.v.data(), 3); }},
          {"kv.k_strides.page is 0, must be positive",
           [](Case& c) { c.args.kv.k_strides.page = 0; }},
          {"kv.k_strides.token is -16, must be positive",
           [](Case& c) { c.args.kv.k_strides.token = -16; }},
          {"kv.v_strides.head is 0, must be positive",
           [](Case& c) { c.args.kv.v_strides.head = 0; }},
          {"kv does not fit into memory: its strides reach beyond 2^63 bytes",
           [](Case& c) { c.args.kv.v_strides.page = std::numeric_limits<int64_t>::max() / 8; }},
          {"kv.device is cuda, q.device is cpu", [](Case& c) { c.args.kv.device = Device::kCuda; }},
          {"kv.device is 2, not a Device",
           [](Case& c) { c.args.kv.device = static_cast<Device>(2); }},
      });
}

TEST_CASE("attend refuses packed keys that are not there") {
  check_refused(
      [](Case& c) { c.plan_packed(); },
      {
          {"cu_seqlens_k reaches key 12, kv has 11 keys",
           [](Case& c) { c.args.kv.num_tokens = 11; }},
          {"kv.num_tokens is -1, must not be negative", [](Case& c) { c.args.kv.num_tokens = -1; }},
          {"kv.page_size is 4, must be 0 with layout packed",
           [](Case& c) { c.args.kv.page_size = 4; }},
          {"kv.num_pages is 3, must be 0 with layout packed",
           [](Case& c) { c.args.kv.num_pages = 3; }},
          {"kv.layout is hnd, the plan has cu_seqlens_k (packed)",
           [](Case& c) {
             c.args.kv =
                 KvView::paged(c.k.data(), c.v.data(), DType::kF32, KvLayout::kHND, 10, 4, 2, 8, 6);
           }},
      });
}

TEST_CASE("attend refuses outputs that it cannot write") {
  check_refused(
      kPaged,
      {
          {"out.shape[0] is 4, must be 3 (query tokens of the plan)",
           [](Case& c) { c.args.out.shape[0] = 4; }},
          {"out.shape[1] is 3, must be 4 (num_heads_q)", [](Case& c) { c.args.out.shape[1] = 3; }},
          {"out.shape[2] is 8, must be 6 (head_dim_v)", [](Case& c) { c.args.out.shape[2] = 8; }},
          {"out.data is null", [](Case& c) { c.args.out.data = nullptr; }},
          {"out.data is 2 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.args.out.data = shifted(c.out.data(), 2); }},
          {"out.dtype is 255, not a DType",
           [](Case& c) { c.args.out.dtype = static_cast<DType>(255); }},
          {"out.strides[2] is 0, must be 1", [](Case& c) { c.args.out.strides[2] = 0; }},
          {"out.strides[1] is 0, must be positive", [](Case& c) { c.args.out.strides[1] = 0; }},
          {"out.strides[0] is -24, must be positive", [](Case& c) { c.args.out.strides[0] = -24; }},
          {"out.strides[1] is 5, must be at least 6 to keep rows apart",
           [](Case& c) { c.args.out.strides[1] = 5; }},
          {"out.strides[0] is 23, must be at least 24 to keep rows apart",
           [](Case& c) { c.args.out.strides[0] = 23; }},
          {"out.device is cuda, q.device is cpu",
           [](Case& c) { c.args.out.device = Device::kCuda; }},
          {"lse.data is 2 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.args.lse.data = static_cast<float*>(shifted(c.lse.data(), 2)); }},
          {"lse.base is 2, not an LseBase",
           [](Case& c) { c.args.lse.base = static_cast<LseBase>(2); }},
          {"lse.order is 2, not an LseOrder",
           [](Case& c) { c.args.lse.order = static_cast<LseOrder>(2); }},
          {"lse.empty is 2, not an LseEmpty",
           [](Case& c) { c.args.lse.empty = static_cast<LseEmpty>(2); }},
      });
}

TEST_CASE("attend refuses outputs that overlap inputs or each other") {
  check_refused(kPaged,
                {
                    {"out overlaps q", [](Case& c) { c.args.out.data = c.q.data(); }},
                    {"out overlaps q", [](Case& c) { c.args.q.data = c.out.data() + 71; }},
                    {"out overlaps kv.k", [](Case& c) { c.args.out.data = c.k.data() + 100; }},
                    {"out overlaps kv.v", [](Case& c) { c.args.out.data = c.v.data(); }},
                    {"lse overlaps q", [](Case& c) { c.args.lse.data = c.q.data() + 95; }},
                    {"lse overlaps kv.v", [](Case& c) { c.args.lse.data = c.v.data() + 10; }},
                    {"lse overlaps out", [](Case& c) { c.args.lse.data = c.out.data() + 71; }},
                });
}

TEST_CASE("attend refuses slopes and sinks that the plan does not expect") {
  check_refused(kPaged, {
                            {"alibi_slopes has 8 entries, the plan was made without has_alibi",
                             [](Case& c) { c.args.alibi_slopes = c.slopes; }},
                            {"sinks has 4 entries, the plan was made without has_sinks",
                             [](Case& c) { c.args.sinks = c.sinks; }},
                        });
  const Prepare with_both = [](Case& c) {
    c.spec.has_alibi = true;
    c.spec.has_sinks = true;
    c.plan_pages();
    c.args.alibi_slopes = c.slopes;
    c.args.sinks = c.sinks;
  };
  check_refused(
      with_both,
      {
          {"alibi_slopes has 0 entries, must have 4 (heads) or 8 (batch x heads)",
           [](Case& c) { c.args.alibi_slopes = {}; }},
          {"alibi_slopes has 5 entries, must have 4 (heads) or 8 (batch x heads)",
           [](Case& c) { c.args.alibi_slopes = std::span(c.slopes).first(5); }},
          {"sinks has 0 entries, must have 4 (heads)", [](Case& c) { c.args.sinks = {}; }},
          {"sinks has 3 entries, must have 4 (heads)",
           [](Case& c) { c.args.sinks = std::span(c.sinks).first(3); }},
          {"out overlaps sinks",
           [](Case& c) { c.args.sinks = std::span<const float>(c.out).subspan(60, 4); }},
          {"out overlaps alibi_slopes",
           [](Case& c) { c.args.alibi_slopes = std::span<const float>(c.out).first(8); }},
      });
}

TEST_CASE("attend refuses rotary tables that do not fit") {
  const Prepare rotated = [](Case& c) {
    c.plan_pages();  // queries stand at 4, and at 5 and 6
    c.use_rotary();
  };
  check_refused(rotated, {
                             {"rotary_q.sin is given without rotary_q.cos",
                              [](Case& c) { c.args.rotary_q.cos = nullptr; }},
                             {"rotary_q.cos is given without rotary_q.sin",
                              [](Case& c) { c.args.rotary_q.sin = nullptr; }},
                             {"rotary_q.dtype is 5, not a DType",
                              [](Case& c) { c.args.rotary_q.dtype = static_cast<DType>(5); }},
                             {"rotary_q.sin is 2 bytes off, must be aligned to 4 (f32)",
                              [](Case& c) { c.args.rotary_q.sin = shifted(c.angles.data(), 2); }},
                             {"rotary_q.rotary_dim is 7, must be even and 2..8 (head_dim)",
                              [](Case& c) { c.args.rotary_q.rotary_dim = 7; }},
                             {"rotary_q.rotary_dim is 0, must be even and 2..8 (head_dim)",
                              [](Case& c) { c.args.rotary_q.rotary_dim = 0; }},
                             {"rotary_q.rotary_dim is 10, must be even and 2..8 (head_dim)",
                              [](Case& c) { c.args.rotary_q.rotary_dim = 10; }},
                             {"rotary_q.max_position is -1, must not be negative",
                              [](Case& c) { c.args.rotary_q.max_position = -1; }},
                             {"rotary_q.max_position is 6, sequence 1 has a query at position 6",
                              [](Case& c) { c.args.rotary_q.max_position = 6; }},
                             {"rotary_q.max_position is 5, sequence 1 has a query at position 5",
                              [](Case& c) {
                                c.args.rotary_q.max_position = 5;
                                c.args.rotary_q_constant = true;
                              }},
                             {"out overlaps rotary_q.cos",
                              [](Case& c) { c.args.rotary_q.cos = c.out.data(); }},
                         });
}

TEST_CASE("attend refuses negative rotary positions") {
  Context context = reference_context();
  Case c;
  c.used = {5, 1};  // two queries, one key: the first query stands at -1
  c.plan_pages();
  c.use_rotary();
  CHECK(attend(context, c.plan, c.args).message() ==
        "q_start of sequence 1 is -1, rotary positions start at 0");
  CHECK(c.untouched());
}

TEST_CASE("attend refuses partial states that do not fit") {
  const Prepare partial = [](Case& c) {
    c.plan_pages();
    c.use_partial();
  };
  check_refused(
      partial,
      {
          {"partial.num_splits is 0, must be at least 1 (splits of the plan)",
           [](Case& c) { c.args.partial.num_splits = 0; }},
          {"partial.num_splits is -1, must be at least 1 (splits of the plan)",
           [](Case& c) { c.args.partial.num_splits = -1; }},
          {"partial.ref is null", [](Case& c) { c.args.partial.ref = nullptr; }},
          {"partial.sum is null", [](Case& c) { c.args.partial.sum = nullptr; }},
          {"partial.acc is null, partial.ref or partial.sum is not",
           [](Case& c) { c.args.partial.acc = nullptr; }},
          {"partial.acc is 2 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.args.partial.acc = static_cast<float*>(shifted(c.acc.data(), 2)); }},
          {"partial.acc overlaps q", [](Case& c) { c.args.partial.acc = c.q.data(); }},
          {"partial.ref overlaps kv.k", [](Case& c) { c.args.partial.ref = c.k.data(); }},
          {"partial.ref overlaps partial.acc",
           [](Case& c) { c.args.partial.ref = c.acc.data() + 71; }},
          {"partial.sum overlaps partial.ref", [](Case& c) { c.args.partial.sum = c.ref.data(); }},
      });
}

TEST_CASE("attend takes what only looks wrong") {
  Context context = reference_context();
  const auto accepted = [&](const std::function<void(Case&)>& change) {
    Case c;
    c.plan_pages();
    change(c);
    return attend(context, c.plan, c.args).message();
  };
  // Heads outside of tokens, in out as in q.
  CHECK(accepted([](Case& c) { c.args.out.strides = {6, 18, 1}; }) == "");
  CHECK(accepted([](Case& c) { c.args.q.strides = {8, 24, 1}; }) == "");
  // Rows of q that share memory: they are only read.
  CHECK(accepted([](Case& c) { c.args.q.strides = {1, 8, 1}; }) == "");
  // K and V in one memory.
  CHECK(accepted([](Case& c) {
          c.args.kv.v = c.args.kv.k;
          c.args.kv.v_strides = c.args.kv.k_strides;
        }) == "");
  // No lse, and with `partial` no out.
  CHECK(accepted([](Case& c) { c.args.lse.data = nullptr; }) == "");
  CHECK(accepted([](Case& c) {
          c.use_partial();
          c.args.out = {};
        }) == "");
  // More splits than the plan needs is room, not a mistake: but the room must be there.
  CHECK(accepted([](Case& c) {
          c.use_partial();
          c.acc.resize(2 * c.acc.size());
          c.ref.resize(2 * c.ref.size());
          c.sum.resize(2 * c.sum.size());
          c.use_partial();
          c.args.partial.num_splits = 2;
        }) == "");
  // Slices of one buffer that touch but do not overlap.
  CHECK(accepted([](Case& c) { c.args.lse.data = c.out.data() + 72; }) == "");
}

TEST_CASE("attend with nobody in the batch needs no memory at all") {
  Context context = reference_context();
  Case c;
  c.cu_q = {0};
  c.used = {};
  c.pages = {};
  c.plan_pages();
  c.args = {};
  c.args.q.shape = {0, 4, 8};
  c.args.q.strides = {0, 0, 1};  // never used, so anything will do
  c.args.out.shape = {0, 4, 6};
  c.args.out.strides = {-5, 0, 1};
  c.args.kv = KvView::paged(nullptr, nullptr, DType::kF32, KvLayout::kNHD, 0, kPageSize, 2, 8, 6);
  CHECK(attend(context, c.plan, c.args).message() == "");
}

TEST_CASE("strides that are never used may be anything") {
  Context context = reference_context();
  Case c;
  c.cu_q = {0, 1, 1};
  c.used = {3, 0};
  c.pages = {0, 0, 0, 0};
  c.plan_pages();
  c.args.q.shape[0] = 1;
  c.args.q.strides[0] = -7;
  c.args.out.shape[0] = 1;
  c.args.out.strides[0] = 0;
  c.args.kv.num_pages = 1;
  c.args.kv.num_tokens = kPageSize;
  c.args.kv.k_strides.page = 0;
  c.args.kv.v_strides.page = -1;
  CHECK(attend(context, c.plan, c.args).message() == "");
}

}  // namespace
}  // namespace attnrt
