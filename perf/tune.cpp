// SPDX-License-Identifier: Apache-2.0
// Shapes of the comparison, and what follows from its times.
#include "perf/tune.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace attnrt::perf {
namespace {

size_t fastest(const TuneRow& row) {
  const auto best = std::min_element(row.results.begin(), row.results.end(),
                                     [](const SweepResult& a, const SweepResult& b) {
                                       return a.seconds.median < b.seconds.median;
                                     });
  return static_cast<size_t>(best - row.results.begin());
}

}  // namespace

SweepCase tune_case(int32_t rows, DType dtype, int32_t threads) {
  constexpr int32_t kLargestGroup = 32;
  constexpr int32_t kChunkGroup = 4;
  SweepCase c;
  c.dtype = dtype;
  const int32_t group = rows <= kLargestGroup ? rows : kChunkGroup;
  c.heads = {8 * group, 8};
  c.head_dim = c.head_dim_v = 128;
  c.layout = KvLayout::kPacked16;
  c.page_size = 64;
  c.batch = 1;
  c.q_len = rows / group;
  c.kv_len = 4096;
  c.causal = true;
  c.threads = threads;
  return c;
}

std::vector<std::string> crossovers(const std::vector<TuneRow>& rows, double noise) {
  std::vector<std::string> lines;
  size_t winner = 0;
  size_t begin = 0;
  const auto end_at = [&](size_t end) {
    const int32_t first = rows[begin].rows;
    const int32_t last = rows[end - 1].rows;
    const std::string range =
        first == last ? fmt::format("{} rows", first) : fmt::format("{} to {} rows", first, last);
    lines.push_back(fmt::format("{}: {}", range, rows[begin].results[winner].isa));
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t best = fastest(rows[i]);
    const auto seconds = [&](size_t which) { return rows[i].results[which].seconds.median; };
    if (i == 0) winner = best;
    if (best == winner || seconds(best) * (1.0 + noise) >= seconds(winner)) continue;
    if (i > begin) end_at(i);
    winner = best;
    begin = i;
  }
  if (!rows.empty()) end_at(rows.size());
  return lines;
}

std::string behind_best(const std::vector<TuneRow>& rows, const std::string& isa) {
  double most = -1.0;
  int32_t where = 0;
  for (const TuneRow& row : rows) {
    const double best = row.results[fastest(row)].seconds.median;
    for (const SweepResult& result : row.results) {
      const double behind = result.seconds.median / best - 1.0;
      if (result.isa != isa || behind <= most) continue;
      most = behind;
      where = row.rows;
    }
  }
  if (most < 0.0) return {};
  return fmt::format("{}: at most {:.0f}% behind the best ({} rows)", isa, 100.0 * most, where);
}

std::string over_others(const std::vector<TuneRow>& rows, const std::string& isa) {
  struct Speed {
    double over = 0.0;
    int32_t rows = 0;
  };
  std::vector<Speed> speeds;
  for (const TuneRow& row : rows) {
    double own = 0.0;
    double best = 0.0;
    for (const SweepResult& result : row.results) {
      const double seconds = result.seconds.median;
      if (result.isa == isa) {
        own = seconds;
      } else if (best == 0.0 || seconds < best) {
        best = seconds;
      }
    }
    if (own > 0.0 && best > 0.0) speeds.push_back({best / own, row.rows});
  }
  if (speeds.empty()) return {};
  const auto [least, most] = std::ranges::minmax_element(speeds, {}, &Speed::over);
  return fmt::format("{} over the best other: {:.2f} ({} rows) to {:.2f} ({} rows)", isa,
                     least->over, least->rows, most->over, most->rows);
}

Report tune_report(const std::vector<TuneRow>& rows) {
  Report report;
  report.columns.push_back({.key = "rows", .title = "rows", .unit = ""});
  if (rows.empty()) return report;
  for (const SweepResult& result : rows.front().results) {
    report.columns.push_back(
        {.key = result.isa + "_us", .title = result.isa, .unit = "us", .decimals = 1});
    report.columns.push_back(
        {.key = result.isa + "_limit_percent", .title = "of limit", .unit = "%", .decimals = 1});
    report.notes.push_back(fmt::format("{} multiplies with {}: {:.0f} GFLOP/s", result.isa,
                                       result.arithmetic, result.flop_rate * 1e-9));
  }
  for (const TuneRow& row : rows) {
    std::vector<Value> values{int64_t{row.rows}};
    for (const SweepResult& result : row.results) {
      values.emplace_back(result.seconds.median * 1e6);
      values.emplace_back(limit_percent(result.limit, result.seconds.median));
    }
    report.rows.push_back(std::move(values));
  }
  return report;
}

}  // namespace attnrt::perf
