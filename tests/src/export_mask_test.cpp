// SPDX-License-Identifier: Apache-2.0
// Row intervals of plans, element by element against the definition.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "attnrt/mask_formats.hpp"
#include "src/expr/evaluate.hpp"

namespace attnrt {
namespace {

struct Export {
  AttentionSpec spec;
  std::vector<int32_t> cu_q{0, 3, 140};
  std::vector<int32_t> cu_k{0, 50, 350};
  std::vector<int32_t> doc = std::vector<int32_t>(300);
  std::vector<expr::SlotValue> values;
  SequenceBatch batch;
  expr::Expr mask;
  Plan plan;

  explicit Export(const std::string& text) {
    for (size_t i = 0; i < doc.size(); ++i) doc[i] = static_cast<int32_t>(i * i / 900 % 3);
    values = {expr::buffer_value("doc", expr::ElementType::kI32, doc.data(), {300})};
    spec.num_heads_q = 4;
    spec.num_heads_kv = 2;
    spec.head_dim = 8;
    REQUIRE(expr::parse(text, mask).message() == "");
    REQUIRE(expr::compile_mask(mask, spec.mask).message() == "");
    batch.cu_seqlens_q = cu_q;
    batch.cu_seqlens_k = cu_k;
    batch.mask_values = values;
    REQUIRE(make_plan(spec, batch, plan).message() == "");
  }
  Export(const Export&) = delete;
  Export& operator=(const Export&) = delete;
};

void check_export(const std::string& text) {
  CAPTURE(text);
  const Export made(text);
  expr::Evaluator evaluator;
  REQUIRE(expr::Evaluator::create(made.mask, made.values, evaluator).ok());
  for (int32_t seq = 0; seq < 2; ++seq) {
    for (int32_t head = 0; head < 4; ++head) {
      expr::RowIntervals rows;
      REQUIRE(expr::export_row_intervals(made.plan, seq, head, rows).message() == "");
      const auto at = static_cast<size_t>(seq);
      const int32_t q_len = made.cu_q[at + 1] - made.cu_q[at];
      const int32_t kv_len = made.cu_k[at + 1] - made.cu_k[at];
      REQUIRE(std::ssize(rows.row_begin) == q_len + 1);
      for (int32_t token = 0; token < q_len; ++token) {
        std::vector<bool> seen(static_cast<size_t>(kv_len));
        int32_t end = -1;
        for (int64_t i = rows.row_begin[static_cast<size_t>(token)];
             i < rows.row_begin[static_cast<size_t>(token) + 1]; ++i) {
          const expr::RowInterval& interval = rows.intervals[static_cast<size_t>(i)];
          CHECK(interval.begin > end);
          CHECK(interval.begin < interval.end);
          end = interval.end;
          for (int32_t key = interval.begin; key < end; ++key)
            seen[static_cast<size_t>(key)] = true;
        }
        expr::Point point{.b = seq,
                          .h = head,
                          .hkv = head / 2,
                          .q = int64_t{kv_len} - q_len + token,
                          .q_len = q_len,
                          .kv_len = kv_len};
        for (point.kv = 0; point.kv < kv_len; ++point.kv) {
          const bool visible = evaluator.predicate(point);
          if (visible == seen[static_cast<size_t>(point.kv)]) continue;
          FAIL("token " << token << ", key " << point.kv << ", head " << head);
        }
      }
    }
  }
}

TEST_CASE("row intervals are what the mask says, for windows, tables and heads") {
  check_export("kv <= q");
  check_export("abs(q - kv) < 40");
  check_export("i32 doc[]; doc[q] == doc[kv] && kv <= q");
  check_export("kv % 3 != h && q - kv < 100");
  check_export("q % 2 == 0 && kv < 30 * (b + 1)");
  check_export("q < 0");
}

TEST_CASE("what cannot be exported is refused by name") {
  const Export made("kv <= q");
  expr::RowIntervals rows;
  CHECK(expr::export_row_intervals(Plan(), 0, 0, rows).message() ==
        "plan is empty, make_plan fills it");
  CHECK(expr::export_row_intervals(made.plan, 2, 0, rows).message() ==
        "seq is 2, the plan has 2 sequences");
  CHECK(expr::export_row_intervals(made.plan, -1, 0, rows).message() ==
        "seq is -1, the plan has 2 sequences");
  CHECK(expr::export_row_intervals(made.plan, 0, 4, rows).message() ==
        "head is 4, the plan has 4 query heads");
  CHECK(rows.row_begin.size() == 1);
}

}  // namespace
}  // namespace attnrt
