// SPDX-License-Identifier: Apache-2.0
// Whether what was measured meets its lines.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "perf/line_rows.hpp"
#include "perf/report.hpp"
#include "perf/sweep.hpp"

namespace attnrt::perf {

/// What became of a row.
struct LineOutcome {
  SweepResult result;          // of rows that only plan: the plan and nothing else
  double every_element = 0.0;  // of rows that only plan: seconds to evaluate the mask everywhere
  std::string why_not;         // not measured: the reason; empty: measured
};

using LineOutcomes = std::map<std::string, LineOutcome>;  // by LineRow::name

/// One line, judged. Numbers are in the unit of the line: percent, microseconds, points, ..
struct Verdict {
  double measured = 0.0;
  bool judged = false;  // false: it, or a row that it is held against, was not measured
  bool met = false;
};

Verdict judge(const LineRow& row, const Line& line, const LineOutcomes& outcomes);

/// ">= 86 %", "<= 20 us above the limit", "<= 3 points below decode-g8".
std::string line_text(const Line& line);

/// "87.3 %", "+12.1 us", "-0.4 points", "-" where it was not judged.
std::string measured_text(const Line& line, const Verdict& verdict);

/// One report row per line of every row that has an outcome. The table shows what is known of
/// plans where `masks`.
std::vector<Column> line_columns(bool masks = false);
void add_line_rows(const std::vector<LineRow>& rows, const LineOutcomes& outcomes, Report& report);

/// How many lines were judged, and how many of them were met.
struct LineCount {
  int64_t judged = 0;
  int64_t met = 0;
};
LineCount count_lines(const std::vector<LineRow>& rows, const LineOutcomes& outcomes);

}  // namespace attnrt::perf
