// SPDX-License-Identifier: Apache-2.0
// What attend refuses because of where tensors are: shapes, strides, pointers, overlaps.
#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "attnrt/attention.hpp"
#include "tests/src/attend_case.hpp"

namespace attnrt {
namespace {

using test::check_refused;
using test::kPaged;
using test::kPageSize;
using test::Prepare;
using test::reference_context;
using test::shifted;
using Case = test::AttendCase;

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
          {"kv.layout is 4, not a KvLayout",
           [](Case& c) { c.args.kv.layout = static_cast<KvLayout>(4); }},
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
