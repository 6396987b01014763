// SPDX-License-Identifier: Apache-2.0
// The lines that the CPU kernels are held to, as data: which calls, and what is asked of each.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "perf/sweep_grid.hpp"

namespace attnrt::perf {

enum class LineKind : uint8_t {
  kPercent,  // at least `bound` percent of the limit
  kAbove,    // at most `bound` microseconds above the limit
  kNear,     // at most `bound` points of the limit below the best of the rows `of`
  kRatio,    // at most `bound` percent longer than the call beside it
  kShare,    // time over that of the call beside it at most `bound` percent more than their scores'
  kRate,     // at least `bound` percent of the operations per second of the call beside it

  // Of rows that only plan:
  kPlanTime,   // at most `bound` milliseconds
  kPlanBytes,  // run lists of less than `bound` bytes
  kPlanShare,  // at most 1 / `bound` of the time of evaluating the mask at every element
};

struct Line {
  LineKind kind = LineKind::kPercent;
  double bound = 0.0;
  std::vector<std::string> of;  // kNear only
};

/// One call and its lines.
struct LineRow {
  std::string name;  // "decode-g4-16k-p16-t2"
  std::string work;  // for people
  SweepCase shape;
  std::vector<Line> lines;
  std::optional<SweepCase> beside;  // takes turns with the call, for kRatio, kShare and kRate
  bool plan_only = false;           // nothing is attended: kPlan.. and no others
};

/// All of them. Paged rows are in `layout` but those whose work names another one.
std::vector<LineRow> line_rows(KvLayout layout);

/// How many of `rows`, of which there are some, are measured together from the first one on: those
/// that are held to the rate of one call, so that it is waited for once.
size_t rows_together(std::span<const LineRow> rows);

/// The rows whose name is one of `names` or begins with one and a dash, and those that their lines
/// name. All where `names` is empty. Throws BadInput for a name that selects nothing.
std::vector<LineRow> select_lines(const std::vector<LineRow>& rows,
                                  const std::vector<std::string>& names);

}  // namespace attnrt::perf
