// SPDX-License-Identifier: Apache-2.0
// A good call of attend to be spoiled, and the check that a spoiled one is refused by the exact
// message and writes nothing.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/attention.hpp"

namespace attnrt::test {

constexpr int32_t kPages = 10;
constexpr int32_t kPageSize = 4;
constexpr float kPattern = 1234.5f;

// Three query tokens of two sequences, 4 heads on 2, dims 8 and 6. Every buffer that a call may
// write starts as a pattern.
struct AttendCase {
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
  std::vector<float> weights = std::vector<float>(2 * 4, 0.5f);
  std::vector<Branch> branches = std::vector<Branch>(1);
  std::vector<float> angles = std::vector<float>(8 * 4, 0.5f);
  AttendArgs args;

  AttendCase() {
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
  AttendCase(const AttendCase&) = delete;
  AttendCase& operator=(const AttendCase&) = delete;

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

inline Context reference_context() {
  ContextOptions options;
  options.backend = "reference";
  Context context;
  REQUIRE(Context::create(options, context).message() == "");
  return context;
}

using Prepare = std::function<void(AttendCase&)>;
struct AttendRow {
  std::string message;
  std::function<void(AttendCase&)> spoil;
};

// `prepare` makes a good case: it must pass unspoiled.
inline void check_refused(const Prepare& prepare, const std::vector<AttendRow>& rows) {
  Context context = reference_context();
  AttendCase good;
  prepare(good);
  REQUIRE(attend(context, good.plan, good.args).message() == "");
  CHECK_FALSE(good.untouched());
  for (const AttendRow& row : rows) {
    CAPTURE(row.message);
    AttendCase bad;
    prepare(bad);
    row.spoil(bad);
    const Status status = attend(context, bad.plan, bad.args);
    CHECK(status.code() == Code::kInvalidArgument);
    CHECK(status.message() == row.message);
    CHECK(bad.untouched());
  }
}

inline const Prepare kPaged = [](AttendCase& c) { c.plan_pages(); };

inline void* shifted(void* p, int bytes) { return static_cast<char*>(p) + bytes; }

}  // namespace attnrt::test
