// SPDX-License-Identifier: Apache-2.0
#include "perf/mask_rows.hpp"

#include <fmt/format.h>

#include <cmath>
#include <span>
#include <utility>

#include "perf/named_masks.hpp"
#include "perf/sweep_report.hpp"

namespace attnrt::perf {
namespace {

constexpr int32_t kMillion = 1 << 20;
constexpr int32_t kFlashTokens = 1 << 15;

// D 128, bf16, pages of 16, two threads, as many queries as keys.
SweepCase prefill(KvLayout layout, Heads heads, int32_t length) {
  SweepCase c;
  c.heads = heads;
  c.head_dim = 128;
  c.head_dim_v = 128;
  c.layout = layout;
  c.page_size = layout == KvLayout::kPacked ? 0 : 16;
  c.batch = 1;
  c.q_len = length;
  c.kv_len = length;
  c.threads = 2;
  return c;
}

// Tiles of 256 query tokens for 2/2 heads, 64 for 32/8.
struct PlanRow {
  const char* name;
  const char* work;
  const char* mask;
  int32_t tokens;
  Heads heads;
  std::vector<Line> lines;
};

void add_plans(std::vector<LineRow>& rows) {
  const std::vector<Line> million{{LineKind::kPlanTime, 30.0, {}},
                                  {LineKind::kPlanBytes, 1e6, {}},
                                  {LineKind::kPlanShare, 1000.0, {}}};
  const std::vector<Line> tracks{{LineKind::kPlanTime, 1.0, {}}};
  const PlanRow plans[] = {
      {"plan-causal", "plan 1m tokens, causal", "causal", kMillion, {2, 2}, million},
      {"plan-window", "plan 1m tokens, window 4096", "window", kMillion, {2, 2}, million},
      {"plan-documents", "plan 1m tokens, 64 documents", "documents", kMillion, {2, 2}, million},
      {"plan-documents-g4",
       "plan 1m tokens, 64 documents, group 4",
       "documents",
       kMillion,
       {32, 8},
       million},
      {"plan-tracks", "plan 60k hits in clusters", "tracks", 60'000, {2, 2}, tracks},
      {"plan-tracks-g4", "plan 60k hits in clusters, group 4", "tracks", 60'000, {32, 8}, tracks},
  };
  for (const PlanRow& plan : plans) {
    SweepCase c = prefill(KvLayout::kPacked, plan.heads, plan.tokens);
    c.mask = plan.mask;
    rows.push_back({plan.name, plan.work, c, plan.lines, {}, true});
  }
}

void add_flash_masks(KvLayout layout, std::vector<LineRow>& rows) {
  for (const std::string& mask : flash_mask_names()) {
    SweepCase c = prefill(layout, {2, 2}, kFlashTokens);
    c.mask = mask;
    rows.push_back({mask,
                    fmt::format("prefill 2/2 heads D 128, 32k, {}", mask.substr(3)),
                    c,
                    {{LineKind::kRate, 90.0, {}}},
                    dense_case(c),
                    false});
  }
}

void add_scores(KvLayout layout, std::vector<LineRow>& rows) {
  const auto add = [&](const char* score, double percent, const SweepCase& beside,
                       const char* beside_work) {
    SweepCase c = prefill(layout, {32, 8}, 2048);
    c.score = score;
    rows.push_back({fmt::format("score-{}", score),
                    fmt::format("prefill D 128, 2k, {} against {}", score, beside_work),
                    c,
                    {{LineKind::kRatio, percent, {}}},
                    beside,
                    false});
  };
  const SweepCase none = prefill(layout, {32, 8}, 2048);
  SweepCase alibi = none;
  alibi.score = "alibi";  // which is recognised, so that the built-in option runs
  SweepCase softcap = none;
  softcap.softcap = 50.0f;
  add("alibi-program", 10.0, alibi, "the built-in");
  add("bias-table", 10.0, none, "no score");
  add("softcap-program", 20.0, softcap, "the built-in");
}

struct Fit {
  double intercept = 0.0;
  double slope = 0.0;
  double r2 = 0.0;
};

// Least squares.
Fit fit_line(std::span<const std::pair<double, double>> points) {
  double mean_x = 0.0;
  double mean_y = 0.0;
  for (const auto& [x, y] : points) {
    mean_x += x / static_cast<double>(points.size());
    mean_y += y / static_cast<double>(points.size());
  }
  double xx = 0.0;
  double xy = 0.0;
  double yy = 0.0;
  for (const auto& [x, y] : points) {
    xx += (x - mean_x) * (x - mean_x);
    xy += (x - mean_x) * (y - mean_y);
    yy += (y - mean_y) * (y - mean_y);
  }
  const double slope = xy / xx;
  return {mean_y - slope * mean_x, slope, xy * xy / (xx * yy)};
}

}  // namespace

std::vector<LineRow> mask_rows(KvLayout layout) {
  std::vector<LineRow> rows;
  add_plans(rows);
  add_flash_masks(layout, rows);
  add_scores(layout, rows);
  return rows;
}

std::string linearity_text(const std::vector<LineRow>& rows, const LineOutcomes& outcomes) {
  std::vector<std::pair<double, double>> points;
  for (const LineRow& row : rows) {
    const auto found = outcomes.find(row.name);
    if (!row.name.starts_with("fm-") || found == outcomes.end()) continue;
    if (!found->second.why_not.empty()) continue;
    const SweepResult& result = found->second.result;
    points.emplace_back(1.0 - sparsity_of(row.shape, result.work), result.seconds.median);
  }
  if (points.size() < 3) return {};
  const Fit fit = fit_line(points);
  return fmt::format("time = {:.1f} ms + {:.1f} ms x (1 - sparsity) over {} masks, R^2 {:.4f}",
                     fit.intercept * 1e3, fit.slope * 1e3, points.size(), fit.r2);
}

}  // namespace attnrt::perf
