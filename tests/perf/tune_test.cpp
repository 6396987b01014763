// SPDX-License-Identifier: Apache-2.0
// What follows from the times of alternatives, from made-up times.
#include "perf/tune.hpp"

#include <doctest/doctest.h>

#include <string>
#include <variant>
#include <vector>

namespace attnrt::perf {
namespace {

TuneRow row_of(int32_t rows, double a, double b) {
  TuneRow row{.rows = rows, .results = std::vector<SweepResult>(2)};
  row.results[0].isa = "a";
  row.results[0].arithmetic = "f32 FMA";
  row.results[0].seconds.median = a;
  row.results[1].isa = "b";
  row.results[1].arithmetic = "bf16 dot";
  row.results[1].flop_rate = 2e9;
  row.results[1].seconds.median = b;
  row.results[1].limit.seconds = b / 2;
  return row;
}

TEST_CASE("rows are query tokens x group") {
  for (const int32_t rows : kTuneRows) {
    CAPTURE(rows);
    const SweepCase c = tune_case(rows, DType::kBF16, 2);
    CHECK(c.q_len * (c.heads.q / c.heads.kv) == rows);
    CHECK(c.threads == 2);
  }
  CHECK(tune_case(32, DType::kF32, 1).q_len == 1);
  CHECK(tune_case(256, DType::kF32, 1).q_len == 64);
}

TEST_CASE("an alternative takes over where it is faster by more than noise") {
  using Lines = std::vector<std::string>;
  CHECK(crossovers({row_of(1, 1.0, 2.0), row_of(2, 1.0, 1.5), row_of(4, 2.0, 1.0)}, 0.03) ==
        Lines{"1 to 2 rows: a", "4 rows: b"});
  CHECK(crossovers({row_of(1, 1.0, 2.0), row_of(2, 1.02, 1.0), row_of(4, 1.0, 1.5)}, 0.03) ==
        Lines{"1 to 4 rows: a"});
  CHECK(crossovers({row_of(1, 1.0, 2.0), row_of(2, 1.02, 1.0), row_of(4, 1.0, 1.5)}, 0.01) ==
        Lines{"1 rows: a", "2 rows: b", "4 rows: a"});
  CHECK(crossovers({}, 0.03).empty());
}

TEST_CASE("what an alternative loses at most, and where") {
  const std::vector<TuneRow> rows{row_of(1, 1.0, 2.0), row_of(8, 1.25, 1.0)};
  CHECK(behind_best(rows, "a") == "a: at most 25% behind the best (8 rows)");
  CHECK(behind_best(rows, "b") == "b: at most 100% behind the best (1 rows)");
  CHECK(behind_best(rows, "c").empty());
}

TEST_CASE("how fast an alternative is beside the best other one") {
  const std::vector<TuneRow> rows{row_of(1, 1.0, 4.0), row_of(8, 3.0, 2.0), row_of(16, 1.0, 1.0)};
  CHECK(over_others(rows, "b") == "b over the best other: 0.25 (1 rows) to 1.50 (8 rows)");
  CHECK(over_others(rows, "a") == "a over the best other: 0.67 (8 rows) to 4.00 (1 rows)");
  CHECK(over_others(rows, "c").empty());
  CHECK(over_others({}, "a").empty());
}

TEST_CASE("times stand under the names of the alternatives") {
  const Report report = tune_report({row_of(8, 1e-3, 2e-3)});
  REQUIRE(report.columns.size() == 5);
  CHECK(report.columns[3].key == "b_us");
  REQUIRE(report.rows.size() == 1);
  CHECK(std::get<int64_t>(report.rows[0][0]) == 8);
  CHECK(std::get<double>(report.rows[0][3]) == doctest::Approx(2000.0));
  CHECK(std::get<double>(report.rows[0][4]) == doctest::Approx(50.0));
  CHECK(report.notes[1] == "b multiplies with bf16 dot: 2 GFLOP/s");
  CHECK(tune_report({}).rows.empty());
}

}  // namespace
}  // namespace attnrt::perf
