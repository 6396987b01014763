// SPDX-License-Identifier: Apache-2.0
// Which rows are drawn, and that a right row passes and a slightly wrong one does not.
#include "perf/row_check.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "backends/reference/reference.hpp"

namespace perf = attnrt::perf;
using attnrt::DType;
using perf::draw_rows;

TEST_CASE("drawn rows are different, ascending and in range") {
  for (const int64_t count : {0, 1, 7, 99, 100, 1000}) {
    const std::vector<int64_t> rows = draw_rows(count, 100, 3);
    CAPTURE(count);
    CHECK(std::ssize(rows) == std::min<int64_t>(count, 100));
    CHECK(std::is_sorted(rows.begin(), rows.end()));
    CHECK(std::set<int64_t>(rows.begin(), rows.end()).size() == rows.size());
    for (const int64_t row : rows) CHECK((row >= 0 && row < 100));
  }
  CHECK(draw_rows(5, 1000, 1) == draw_rows(5, 1000, 1));
  CHECK(draw_rows(5, 1000, 1) != draw_rows(5, 1000, 2));
  CHECK(draw_rows(5, 0, 1).empty());
}

TEST_CASE("rows are drawn from the whole run") {
  const std::vector<int64_t> rows = draw_rows(1000, 1'000'000, 9);
  int64_t upper = 0;
  for (const int64_t row : rows) upper += row >= 500'000 ? 1 : 0;
  CHECK(upper > 400);
  CHECK(upper < 600);
}

namespace {

/// One sequence, one head, one decoded token over 10 keys, with the reference's own answer.
struct LoneStep {
  LoneStep() : source({DType::kF32, 16, 16, 16}, 1) {
    spec.num_heads_q = spec.num_heads_kv = 1;
    spec.head_dim = spec.head_dim_v = 16;
    spec.causal = true;
    batch.requests = {5};
    batch.cu_seqlens_q = {0, 1};
    batch.cache_seqlens = {9};
    batch.seqused_k = {10};
    std::vector<float> k, v;
    for (int64_t key = 0; key < 10; ++key) {
      const auto* k_row = reinterpret_cast<const float*>(source.k_row(0, 5, key));
      const auto* v_row = reinterpret_cast<const float*>(source.v_row(0, 5, key));
      k.insert(k.end(), k_row, k_row + 16);
      v.insert(v.end(), v_row, v_row + 16);
    }
    const std::vector<int32_t> cu_seqlens_k{0, 10};
    attnrt::SequenceBatch sequences;
    sequences.cu_seqlens_q = batch.cu_seqlens_q;
    sequences.cu_seqlens_k = cu_seqlens_k;
    attnrt::AttendArgs args;
    args.q = attnrt::dense_tensor(static_cast<const void*>(source.q(0, 0)), DType::kF32, 1, 1, 16);
    args.kv = attnrt::KvView::packed(k.data(), v.data(), DType::kF32, 10, 1, 16);
    args.out = attnrt::dense_tensor(static_cast<void*>(out.data()), DType::kF32, 1, 1, 16);
    args.lse.data = &lse;
    attnrt::reference::attend(spec, sequences, args);
  }

  perf::RowCheck check() {
    perf::RowCheck check(1, 1, 1, false);
    check.check({spec,
                 batch,
                 0,
                 0,
                 attnrt::dense_tensor(static_cast<const void*>(out.data()), DType::kF32, 1, 1, 16),
                 &lse,
                 {},
                 {}},
                source);
    return check;
  }

  perf::TokenSource source;
  attnrt::AttentionSpec spec;
  perf::StepBatch batch;
  std::vector<float> out = std::vector<float>(16);
  float lse = 0.0f;
};

}  // namespace

TEST_CASE("the reference's own answer passes") {
  LoneStep step;
  const perf::RowCheck check = step.check();
  CHECK(check.checked() == 1);
  CHECK(check.failed() == 0);
  CHECK(check.first_failure().empty());
}

TEST_CASE("an error of one part in ten thousand does not") {
  LoneStep step;
  step.out[7] += 1e-4f;
  const perf::RowCheck check = step.check();
  CHECK(check.failed() == 1);
  CHECK(check.worst_out() > 1.0);
  CHECK(check.first_failure().starts_with(
      "step 0, layer 0, request 6, position 9, head 0: |out - reference| is 0.0001 where"));
}

TEST_CASE("a wrong LSE does not, either") {
  LoneStep step;
  step.lse += 1e-3f;
  const perf::RowCheck check = step.check();
  CHECK(check.failed() == 1);
  CHECK(check.worst_out() <= 1.0);
  CHECK(check.worst_lse() > 1.0);
}
