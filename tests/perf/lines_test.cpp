// SPDX-License-Identifier: Apache-2.0
// Lines judged by hand-made results.
#include "perf/lines.hpp"

#include <doctest/doctest.h>

#include <string>
#include <variant>

namespace attnrt::perf {
namespace {

LineRow row_named(const std::string& name, const Line& line) {
  LineRow row;
  row.name = name;
  row.shape.heads = {4, 1};
  row.shape.head_dim = row.shape.head_dim_v = 64;
  row.shape.batch = 1;
  row.shape.q_len = row.shape.kv_len = 512;
  row.lines = {line};
  return row;
}

LineOutcome took(double seconds, double limit_seconds) {
  LineOutcome outcome;
  outcome.result.seconds.median = seconds;
  outcome.result.limit.seconds = limit_seconds;
  outcome.result.repeats = 10;
  outcome.result.arithmetic = "f32 FMA";
  return outcome;
}

TEST_CASE("percent of the limit") {
  const LineOutcomes outcomes{{"a", took(10e-3, 8.6e-3)}};
  const Verdict at = judge(row_named("a", {LineKind::kPercent, 86.0, {}}),
                           {LineKind::kPercent, 85.99, {}}, outcomes);
  CHECK(at.judged);
  CHECK(at.met);
  CHECK(at.measured == doctest::Approx(86.0));
  const Line higher{LineKind::kPercent, 86.01, {}};
  CHECK_FALSE(judge(row_named("a", higher), higher, outcomes).met);
  CHECK(line_text(higher) == ">= 86.01 %");
  CHECK(measured_text(higher, at) == "86.0 %");
}

TEST_CASE("microseconds above the limit") {
  const LineOutcomes outcomes{{"a", took(60e-6, 45e-6)}};
  const Line line{LineKind::kAbove, 20.0, {}};
  const Verdict verdict = judge(row_named("a", line), line, outcomes);
  CHECK(verdict.met);
  CHECK(verdict.measured == doctest::Approx(15.0));
  CHECK(measured_text(line, verdict) == "+15.0 us");
  const Line tight{LineKind::kAbove, 14.9, {}};
  CHECK_FALSE(judge(row_named("a", tight), tight, outcomes).met);
}

TEST_CASE("points below the best of the rows named") {
  const LineOutcomes outcomes{
      {"a", took(10.0, 8.0)}, {"b", took(10.0, 7.0)}, {"c", took(10.0, 8.4)}};
  const Line line{LineKind::kNear, 5.0, {"b", "c"}};
  const Verdict verdict = judge(row_named("a", line), line, outcomes);
  CHECK(verdict.met);
  CHECK(verdict.measured == doctest::Approx(4.0));
  const Line tight{LineKind::kNear, 3.9, {"b", "c"}};
  CHECK_FALSE(judge(row_named("a", tight), tight, outcomes).met);
  CHECK(line_text(line) == "<= 5 points below b, c");
}

TEST_CASE("longer than the call beside it") {
  LineOutcomes outcomes{{"a", took(10.2, 8.0)}};
  outcomes["a"].result.beside.median = 10.0;
  const Line line{LineKind::kRatio, 3.0, {}};
  Verdict verdict = judge(row_named("a", line), line, outcomes);
  CHECK(verdict.met);
  CHECK(verdict.measured == doctest::Approx(2.0));
  outcomes["a"].result.beside.median = 9.8;
  CHECK_FALSE(judge(row_named("a", line), line, outcomes).met);
}

TEST_CASE("time over the padded call's, against the share of real scores") {
  const Line line{LineKind::kShare, 5.0, {}};
  LineRow row = row_named("a", line);
  row.beside = row.shape;
  row.beside->batch = 4;
  LineOutcomes outcomes{{"a", took(1.04, 1.0)}};
  outcomes["a"].result.work = work_of(row.shape);  // a quarter of the padded call's scores
  outcomes["a"].result.beside.median = 4.0;
  Verdict verdict = judge(row, line, outcomes);
  CHECK(verdict.met);
  CHECK(verdict.measured == doctest::Approx(4.0));
  outcomes["a"].result.beside.median = 3.9;
  CHECK_FALSE(judge(row, line, outcomes).met);
}

TEST_CASE("operations per second against those of the call beside it") {
  const Line line{LineKind::kRate, 90.0, {}};
  LineRow row = row_named("a", line);
  row.beside = row.shape;
  LineOutcomes outcomes{{"a", took(0.55, 1.0)}};
  outcomes["a"].result.work = work_of(row.shape);
  outcomes["a"].result.work.flops /= 2;
  outcomes["a"].result.beside.median = 1.0;
  Verdict verdict = judge(row, line, outcomes);
  CHECK(verdict.met);
  CHECK(verdict.measured == doctest::Approx(90.909));
  CHECK(line_text(line) == ">= 90 % of the dense rate");
  CHECK(measured_text(line, verdict) == "90.9 %");
  outcomes["a"].result.beside.median = 0.98;
  CHECK_FALSE(judge(row, line, outcomes).met);
}

TEST_CASE("time and bytes of a plan, and its time against evaluating every element") {
  LineRow row = row_named("a", {LineKind::kPlanTime, 30.0, {}});
  row.plan_only = true;
  LineOutcomes outcomes{{"a", took(0.02, 0.0)}};
  outcomes["a"].result.plan.repeats = 7;
  outcomes["a"].result.plan.run_bytes = 999'999;
  outcomes["a"].every_element = 40.0;
  const auto judged = [&](LineKind kind, double bound) {
    return judge(row, {kind, bound, {}}, outcomes);
  };
  CHECK(judged(LineKind::kPlanTime, 20.1).met);
  CHECK_FALSE(judged(LineKind::kPlanTime, 19.9).met);
  CHECK(judged(LineKind::kPlanBytes, 1e6).met);
  CHECK_FALSE(judged(LineKind::kPlanBytes, 999'998).met);
  CHECK(judged(LineKind::kPlanShare, 1999.0).met);
  CHECK_FALSE(judged(LineKind::kPlanShare, 2001.0).met);
  const Line share{LineKind::kPlanShare, 1000.0, {}};
  CHECK(line_text(share) == "<= 1/1000 of evaluating every element");
  CHECK(measured_text(share, judge(row, share, outcomes)) == "1/2000");

  Report report;
  report.columns = line_columns(true);
  add_line_rows({row}, outcomes, report);
  REQUIRE(report.rows.size() == 1);
  REQUIRE(report.rows[0].size() == report.columns.size());
  for (size_t i = 0; i < report.columns.size(); ++i) {
    const std::string& key = report.columns[i].key;
    const Value& value = report.rows[0][i];
    if (key == "run_bytes") CHECK(std::get<int64_t>(value) == 999'999);
    if (key == "median_us") CHECK(std::get<double>(value) == doctest::Approx(20'000.0));
    if (key == "limit_us" || key == "isa") CHECK(std::holds_alternative<std::monostate>(value));
  }
}

TEST_CASE("what was not measured is neither met nor missed, and named") {
  const Line line{LineKind::kPercent, 80.0, {}};
  const Line near{LineKind::kNear, 5.0, {"a"}};
  const std::vector<LineRow> rows{row_named("a", line), row_named("b", near), row_named("c", line)};
  LineOutcomes outcomes{{"b", took(1.0, 0.9)}};
  outcomes["a"].why_not = "no AVX2 here";
  CHECK_FALSE(judge(rows[0], line, outcomes).judged);
  CHECK_FALSE(judge(rows[1], near, outcomes).judged);
  CHECK_FALSE(judge(rows[2], line, outcomes).judged);
  CHECK(measured_text(near, judge(rows[1], near, outcomes)) == "-");
  const LineCount count = count_lines(rows, outcomes);
  CHECK(count.judged == 0);
  CHECK(count.met == 0);

  Report report;
  report.columns = line_columns();
  add_line_rows(rows, outcomes, report);
  REQUIRE(report.rows.size() == 1);
  CHECK(report.rows[0].size() == report.columns.size());
  CHECK(std::get<std::string>(report.rows[0][0]) == "b");
  CHECK(std::holds_alternative<std::monostate>(report.rows[0][5]));
  REQUIRE(report.notes.size() == 1);
  CHECK(report.notes[0] == "a was not measured: no AVX2 here");
}

TEST_CASE("a row that lost its CPUs says so") {
  const Line line{LineKind::kPercent, 80.0, {}};
  LineOutcomes outcomes{{"a", took(1.0, 0.9)}};
  outcomes["a"].result.lost_share = 0.25;
  Report report;
  report.columns = line_columns();
  add_line_rows({row_named("a", line)}, outcomes, report);
  REQUIRE(report.notes.size() == 1);
  CHECK(report.notes[0] == "a: other processes had the CPUs for 25 % of its time");
  CHECK(count_lines({row_named("a", line)}, outcomes).met == 1);
}

}  // namespace
}  // namespace attnrt::perf
