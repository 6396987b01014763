// SPDX-License-Identifier: Apache-2.0
// Judges rows against their lines, and writes both down.
#include "perf/lines.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "perf/sweep_report.hpp"

namespace attnrt::perf {
namespace {

constexpr double kMilli = 1e3;
constexpr double kMicro = 1e6;
constexpr double kGiga = 1e-9;

double percent_of(const SweepResult& result) {
  return limit_percent(result.limit, result.seconds.median);
}

const SweepResult* measured(const std::string& name, const LineOutcomes& outcomes) {
  const auto found = outcomes.find(name);
  if (found == outcomes.end() || !found->second.why_not.empty()) return nullptr;
  return &found->second.result;
}

double over_percent(double value, double base) { return 100.0 * (value / base - 1.0); }

// Whether a line asks for at least its bound; others ask for at most that.
bool at_least(LineKind kind) {
  return kind == LineKind::kPercent || kind == LineKind::kRate || kind == LineKind::kPlanShare;
}

// Operations per second over those of the call beside it.
double rate_percent(const SweepResult& result, const SweepCase& beside) {
  const double beside_rate = static_cast<double>(work_of(beside).flops) / result.beside.median;
  return 100.0 * result.rate() / beside_rate;
}

// Points of the limit below the best row that the line names; false where one is missing.
bool points_below(const SweepResult& result, const Line& line, const LineOutcomes& outcomes,
                  double& points) {
  double best = 0.0;
  for (const std::string& name : line.of) {
    const SweepResult* other = measured(name, outcomes);
    if (other == nullptr) return false;
    best = std::max(best, percent_of(*other));
  }
  points = best - percent_of(result);
  return true;
}

}  // namespace

Verdict judge(const LineRow& row, const Line& line, const LineOutcomes& outcomes) {
  Verdict verdict;
  const SweepResult* result = measured(row.name, outcomes);
  if (result == nullptr) return verdict;
  verdict.judged = true;
  switch (line.kind) {
    case LineKind::kPercent:
      verdict.measured = percent_of(*result);
      break;
    case LineKind::kAbove:
      verdict.measured = (result->seconds.median - result->limit.seconds) * kMicro;
      break;
    case LineKind::kNear:
      verdict.judged = points_below(*result, line, outcomes, verdict.measured);
      break;
    case LineKind::kRatio:
      verdict.measured = over_percent(result->seconds.median, result->beside.median);
      break;
    case LineKind::kShare: {
      const double time = result->seconds.median / result->beside.median;
      const Work all = work_of(*row.beside);
      const double share = static_cast<double>(result->work.flops) / static_cast<double>(all.flops);
      verdict.measured = over_percent(time, share);
      break;
    }
    case LineKind::kRate:
      verdict.measured = rate_percent(*result, *row.beside);
      break;
    case LineKind::kPlanTime:
      verdict.measured = result->seconds.median * kMilli;
      break;
    case LineKind::kPlanBytes:
      verdict.measured = static_cast<double>(result->plan.run_bytes);
      break;
    case LineKind::kPlanShare:
      verdict.measured = outcomes.at(row.name).every_element / result->seconds.median;
      break;
  }
  const bool within =
      at_least(line.kind) ? verdict.measured >= line.bound : verdict.measured <= line.bound;
  verdict.met = verdict.judged && within;
  return verdict;
}

std::string line_text(const Line& line) {
  switch (line.kind) {
    case LineKind::kPercent:
      return fmt::format(">= {} %", line.bound);
    case LineKind::kAbove:
      return fmt::format("<= {} us above the limit", line.bound);
    case LineKind::kNear:
      return fmt::format("<= {} points below {}", line.bound, fmt::join(line.of, ", "));
    case LineKind::kRatio:
      return fmt::format("<= {} % longer", line.bound);
    case LineKind::kShare:
      return fmt::format("time over the padded call's <= share of scores + {} %", line.bound);
    case LineKind::kRate:
      return fmt::format(">= {} % of the dense rate", line.bound);
    case LineKind::kPlanTime:
      return fmt::format("planned in <= {} ms", line.bound);
    case LineKind::kPlanBytes:
      return fmt::format("run lists of <= {} bytes", line.bound);
    case LineKind::kPlanShare:
      return fmt::format("<= 1/{} of evaluating every element", line.bound);
  }
  return {};
}

std::string measured_text(const Line& line, const Verdict& verdict) {
  if (!verdict.judged) return "-";
  switch (line.kind) {
    case LineKind::kPercent:
    case LineKind::kRate:
      return fmt::format("{:.1f} %", verdict.measured);
    case LineKind::kAbove:
      return fmt::format("{:+.1f} us", verdict.measured);
    case LineKind::kNear:
      return fmt::format("{:+.1f} points", verdict.measured);
    case LineKind::kRatio:
    case LineKind::kShare:
      return fmt::format("{:+.1f} %", verdict.measured);
    case LineKind::kPlanTime:
      return fmt::format("{:.3f} ms", verdict.measured);
    case LineKind::kPlanBytes:
      return fmt::format("{:.0f}", verdict.measured);
    case LineKind::kPlanShare:
      return fmt::format("1/{:.0f}", verdict.measured);
  }
  return {};
}

std::vector<Column> line_columns(bool masks) {
  return {
      {.key = "row", .title = "row", .unit = ""},
      {.key = "work", .title = "work", .unit = ""},
      {.key = "layout", .title = "layout", .unit = ""},
      {.key = "line", .title = "line", .unit = ""},
      {.key = "measured", .title = "measured", .unit = ""},
      {.key = "met", .title = "met", .unit = ""},
      {.key = "median_us", .title = "median", .unit = "us", .decimals = 1},
      {.key = "limit_us", .title = "limit", .unit = "us", .decimals = 1},
      {.key = "limited_by", .title = "limited by", .unit = ""},
      {.key = "noise_percent", .title = "noise", .unit = "%", .decimals = 1},
      {.key = "repeats", .title = "calls", .unit = ""},
      {.key = "cpu_lost_percent", .title = "CPU lost", .unit = "%", .decimals = 1},
      {.key = "read_probe_gbps", .title = "read probe", .unit = "GB/s", .decimals = 1},
      {.key = "multiply_probe_gflops", .title = "multiplies", .unit = "GFLOP/s", .decimals = 0},
      {.key = "isa", .title = "ISA", .unit = ""},
      {.key = "arithmetic", .title = "arithmetic", .unit = ""},
      {.key = "threads", .title = "threads", .unit = "", .in_table = false},
      {.key = "huge_page_percent", .title = "huge pages", .unit = "%", .in_table = false},
      {.key = "beside_us", .title = "beside", .unit = "us", .in_table = false},
      {.key = "measured_value", .title = "measured", .unit = "", .in_table = false},
      {.key = "line_value", .title = "line", .unit = "", .in_table = false},
      {.key = "plan_ms", .title = "plan", .unit = "ms", .decimals = 3, .in_table = masks},
      {.key = "run_bytes", .title = "runs", .unit = "bytes", .in_table = masks},
      {.key = "plan_bytes", .title = "plan with tiles", .unit = "bytes", .in_table = false},
      {.key = "sparsity_percent",
       .title = "sparsity",
       .unit = "%",
       .decimals = 1,
       .in_table = masks},
  };
}

namespace {

std::string layout_text(const SweepCase& c) {
  if (c.layout == KvLayout::kPacked) return "varlen";
  return fmt::format("{} {}", to_string(c.layout), c.page_size);
}

std::vector<Value> line_row(const LineRow& row, const Line& line, const Verdict& verdict,
                            const SweepResult& r) {
  const bool noise = r.repeats >= 6;  // fewer samples have no confidence interval
  // Nothing that belongs to calls for rows that only plan.
  const auto of_call = [&](Value value) { return row.plan_only ? Value() : value; };
  return {
      row.name,
      row.work,
      of_call(layout_text(row.shape)),
      line_text(line),
      measured_text(line, verdict),
      verdict.judged ? Value(verdict.met) : Value(),
      r.seconds.median * kMicro,
      of_call(r.limit.seconds * kMicro),
      of_call(std::string(r.limit.bound == Bound::kMemory ? "read" : r.arithmetic)),
      noise ? Value(100.0 * r.seconds.noise) : Value(),
      r.repeats,
      r.lost_share < 0.0 ? Value() : Value(100.0 * r.lost_share),
      of_call(r.read_rate * kGiga),
      of_call(r.flop_rate * kGiga),
      of_call(r.isa),
      of_call(std::string(r.arithmetic)),
      of_call(int64_t{row.shape.threads}),
      r.huge_percent < 0 ? Value() : Value(r.huge_percent),
      row.beside ? Value(r.beside.median * kMicro) : Value(),
      verdict.judged ? Value(verdict.measured) : Value(),
      line.bound,
      r.plan.repeats > 0 ? Value(r.plan.seconds.median * kMilli) : Value(),
      r.plan.repeats > 0 ? Value(r.plan.run_bytes) : Value(),
      r.plan.repeats > 0 ? Value(r.plan.bytes) : Value(),
      row.shape.mask.empty() || row.plan_only ? Value()
                                              : Value(100.0 * sparsity_of(row.shape, r.work)),
  };
}

}  // namespace

void add_line_rows(const std::vector<LineRow>& rows, const LineOutcomes& outcomes, Report& report) {
  for (const LineRow& row : rows) {
    const auto found = outcomes.find(row.name);
    if (found == outcomes.end()) continue;
    const LineOutcome& outcome = found->second;
    if (!outcome.why_not.empty()) {
      report.notes.push_back(fmt::format("{} was not measured: {}", row.name, outcome.why_not));
      continue;
    }
    if (outcome.result.lost_share > kLostShare) {
      report.notes.push_back(
          fmt::format("{}: other processes had the CPUs for {:.0f} % of its time", row.name,
                      100.0 * outcome.result.lost_share));
    }
    for (const Line& line : row.lines) {
      const Verdict verdict = judge(row, line, outcomes);
      report.rows.push_back(line_row(row, line, verdict, outcome.result));
    }
  }
}

LineCount count_lines(const std::vector<LineRow>& rows, const LineOutcomes& outcomes) {
  LineCount count;
  for (const LineRow& row : rows) {
    for (const Line& line : row.lines) {
      const Verdict verdict = judge(row, line, outcomes);
      count.judged += verdict.judged ? 1 : 0;
      count.met += verdict.met ? 1 : 0;
    }
  }
  return count;
}

}  // namespace attnrt::perf
