// SPDX-License-Identifier: Apache-2.0
// What attend refuses because the plan was made for something else.
#include <doctest/doctest.h>

#include <cstdint>
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

TEST_CASE("attend refuses a plan that was never made") {
  Context context = reference_context();
  Case c;
  CHECK(attend(context, c.plan, c.args).message() == "plan is empty, make_plan fills it");
  CHECK(c.untouched());
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

TEST_CASE("attend refuses branches that the plan does not expect, or that are not like the first") {
  check_refused(kPaged,
                {
                    {"branches has 1 entries, must have 0 (spec.num_branches less branch 0)",
                     [](Case& c) { c.args.branches = c.branches; }},
                    {"branch_weights has 8 entries, must have 0 (one branch)",
                     [](Case& c) { c.args.branch_weights = c.weights; }},
                });
  const Prepare two = [](Case& c) {
    c.spec.num_branches = 2;
    c.plan_pages();
    c.args.lse = {};
    c.branches[0] = {c.args.q, c.k.data()};
    c.args.branches = c.branches;
    c.args.branch_weights = c.weights;
  };
  check_refused(
      two,
      {
          {"branches has 0 entries, must have 1 (spec.num_branches less branch 0)",
           [](Case& c) { c.args.branches = {}; }},
          {"branch_weights has 7 entries, must have 8 (branches x heads)",
           [](Case& c) { c.args.branch_weights = std::span(c.weights).first(7); }},
          {"branch_weights[5] is inf, must be finite",
           [](Case& c) { c.weights[5] = std::numeric_limits<float>::infinity(); }},
          {"lse is given, branches have one each", [](Case& c) { c.args.lse.data = c.lse.data(); }},
          {"row_max is given, branches have one each",
           [](Case& c) { c.args.row_max = c.lse.data(); }},
          {"partial is given, branches have one each", [](Case& c) { c.use_partial(); }},
          {"branches[0].q.dtype is bf16, q.dtype is f32",
           [](Case& c) { c.branches[0].q.dtype = DType::kBF16; }},
          {"branches[0].q.shape[1] is 3, must be 4 (num_heads_q)",
           [](Case& c) { c.branches[0].q.shape[1] = 3; }},
          {"branches[0].q.device is not that of q",
           [](Case& c) { c.branches[0].q.device = Device::kCuda; }},
          {"branches[0].k is null", [](Case& c) { c.branches[0].k = nullptr; }},
          {"branches[0].k is 2 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.branches[0].k = shifted(c.k.data(), 2); }},
          {"out overlaps branches[0].q", [](Case& c) { c.branches[0].q.data = c.out.data(); }},
          {"out overlaps branches[0].k", [](Case& c) { c.branches[0].k = c.out.data(); }},
          {"out overlaps branch_weights",
           [](Case& c) { c.args.branch_weights = std::span<const float>(c.out).first(8); }},
      });
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

}  // namespace
}  // namespace attnrt
