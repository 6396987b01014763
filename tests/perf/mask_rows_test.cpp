// SPDX-License-Identifier: Apache-2.0
// The rows of `lines --masks`.
#include "perf/mask_rows.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "perf/named_masks.hpp"

namespace attnrt::perf {
namespace {

bool of_plans(LineKind kind) {
  return kind == LineKind::kPlanTime || kind == LineKind::kPlanBytes ||
         kind == LineKind::kPlanShare;
}

TEST_CASE("names are unique, and every row has lines of its kind and a known mask or score") {
  const std::vector<LineRow> rows = mask_rows(KvLayout::kPacked16);
  std::set<std::string> names;
  for (const LineRow& row : rows) {
    CAPTURE(row.name);
    names.insert(row.name);
    CHECK_FALSE(row.lines.empty());
    for (const Line& line : row.lines) {
      CHECK(line.bound > 0.0);
      CHECK(of_plans(line.kind) == row.plan_only);
    }
    CHECK(row.beside.has_value() == !row.plan_only);
    CHECK(row.shape.mask.empty() != row.shape.score.empty());
    const std::vector<std::string> known = row.shape.mask.empty() ? score_names() : mask_names();
    const std::string& name = row.shape.mask.empty() ? row.shape.score : row.shape.mask;
    CHECK(std::find(known.begin(), known.end(), name) != known.end());
    CHECK((row.shape.page_size == 0) == row.plan_only);
  }
  CHECK(names.size() == rows.size());
}

TEST_CASE("FlashMask's masks stand beside the dense call of their shape") {
  int64_t masks = 0;
  for (const LineRow& row : mask_rows(KvLayout::kNHD)) {
    if (row.lines[0].kind != LineKind::kRate) continue;
    ++masks;
    CAPTURE(row.name);
    CHECK(row.shape.kv_len == 32768);
    CHECK(row.shape.heads.q == 2);
    CHECK(row.shape.layout == KvLayout::kNHD);
    CHECK(row.beside->mask.empty());
    CHECK(row.beside->kv_len == row.shape.kv_len);
  }
  CHECK(masks == 12);
}

TEST_CASE("all that are held to one dense call are measured together, others alone") {
  std::vector<LineRow> rows = mask_rows(KvLayout::kNHD);
  const auto first_of = [&](const std::string& name) {
    const auto found = std::find_if(rows.begin(), rows.end(),
                                    [&](const LineRow& row) { return row.name == name; });
    return std::span<const LineRow>(found, rows.end());
  };
  CHECK(rows_together(rows) == 1);
  CHECK(rows_together(first_of("fm-full")) == 12);
  CHECK(rows_together(first_of("fm-random-eviction")) == 1);
  CHECK(rows_together(first_of("score-alibi-program")) == 1);
  rows[8].beside->kv_len = 64;
  CHECK(rows[8].name == "fm-sliding-window");
  CHECK(rows_together(first_of("fm-full")) == 2);
}

LineOutcome outcome_of(const LineRow& row, double visible, double seconds) {
  LineOutcome outcome;
  const auto all = static_cast<double>(work_of(dense_case(row.shape)).flops);
  outcome.result.work.flops = static_cast<int64_t>(all * visible);
  outcome.result.seconds.median = seconds;
  return outcome;
}

TEST_CASE("the fit is that of time over visible share") {
  const std::vector<LineRow> rows = mask_rows(KvLayout::kNHD);
  const auto named = [&](const std::string& name) {
    return *std::find_if(rows.begin(), rows.end(),
                         [&](const LineRow& row) { return row.name == name; });
  };
  LineOutcomes outcomes;
  const auto add = [&](const char* name, double visible, double seconds) {
    outcomes[name] = outcome_of(named(name), visible, seconds);
  };
  add("fm-full", 1.0, 1.01);
  add("fm-causal", 0.5, 0.51);
  CHECK(linearity_text(rows, outcomes).empty());
  add("fm-document", 0.25, 0.26);
  add("plan-causal", 0.1, 17.0);  // no call
  outcomes["fm-sliding-window"].why_not = "interrupted";
  CHECK(linearity_text(rows, outcomes) ==
        "time = 10.0 ms + 1000.0 ms x (1 - sparsity) over 3 masks, R^2 1.0000");
  add("fm-document", 0.25, 0.5);
  CHECK(linearity_text(rows, outcomes).find("R^2 0.90") != std::string::npos);
}

}  // namespace
}  // namespace attnrt::perf
