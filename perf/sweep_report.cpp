// SPDX-License-Identifier: Apache-2.0
// Rows of a sweep as a report.
#include "perf/sweep_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "perf/cuda_device.hpp"
#include "perf/environment.hpp"

namespace attnrt::perf {
namespace {

constexpr double kMilli = 1e3;
constexpr double kMicro = 1e6;
constexpr double kGiga = 1e-9;

template <class Is>
bool any(const std::vector<SweepCase>& cases, Is is) {
  return std::any_of(cases.begin(), cases.end(), is);
}

Column hidden(const char* key) { return {.key = key, .title = key, .unit = "", .in_table = false}; }

// Fewer than six samples have no confidence interval.
Value noise_percent(const SweepResult& result) {
  if (result.repeats < 6) return std::monostate();
  return 100.0 * result.seconds.noise;
}

Value percent_or_nothing(int64_t percent) {
  if (percent < 0) return std::monostate();
  return percent;
}

}  // namespace

double sparsity_of(const SweepCase& c, const Work& work) {
  return 1.0 - static_cast<double>(work.flops) / static_cast<double>(work_of(dense_case(c)).flops);
}

std::vector<Column> sweep_columns(const std::vector<SweepCase>& cases) {
  const bool causal = any(cases, [](const SweepCase& c) { return c.causal; });
  const bool window = any(cases, [](const SweepCase& c) { return c.window > 0; });
  const bool ragged = any(cases, [](const SweepCase& c) { return c.ragged > 0; });
  const bool dim_v = any(cases, [](const SweepCase& c) { return c.head_dim_v != c.head_dim; });
  const bool softcap = any(cases, [](const SweepCase& c) { return c.softcap > 0.0f; });
  const bool mask = any(cases, [](const SweepCase& c) { return !c.mask.empty(); });
  const bool score = any(cases, [](const SweepCase& c) { return !c.score.empty(); });
  return {
      {.key = "dtype", .title = "dtype", .unit = ""},
      {.key = "heads", .title = "heads", .unit = "q/kv"},
      {.key = "head_dim", .title = "D", .unit = ""},
      {.key = "head_dim_v", .title = "Dv", .unit = "", .in_table = dim_v},
      {.key = "layout", .title = "layout", .unit = ""},
      {.key = "page_size", .title = "page", .unit = ""},
      {.key = "causal", .title = "causal", .unit = "", .in_table = causal},
      {.key = "window", .title = "window", .unit = "", .in_table = window},
      {.key = "softcap", .title = "softcap", .unit = "", .in_table = softcap},
      {.key = "ragged", .title = "ragged", .unit = "", .in_table = ragged},
      {.key = "mask", .title = "mask", .unit = "", .in_table = mask},
      {.key = "score", .title = "score", .unit = "", .in_table = score},
      {.key = "batch", .title = "batch", .unit = ""},
      {.key = "q_len", .title = "q", .unit = ""},
      {.key = "kv_len", .title = "kv", .unit = ""},
      {.key = "threads", .title = "threads", .unit = ""},
      {.key = "isa", .title = "ISA", .unit = ""},
      {.key = "median_us", .title = "median", .unit = "us", .decimals = 1},
      {.key = "p10_us", .title = "p10", .unit = "us", .decimals = 1},
      {.key = "p90_us", .title = "p90", .unit = "us", .decimals = 1},
      {.key = "noise_percent", .title = "noise", .unit = "%", .decimals = 1},
      {.key = "repeats", .title = "calls", .unit = ""},
      {.key = "cpu_lost_percent", .title = "CPU lost", .unit = "%", .decimals = 1},
      {.key = "kv_gbps", .title = "KV", .unit = "GB/s", .decimals = 1},
      {.key = "gflops", .title = "compute", .unit = "GFLOP/s", .decimals = 1},
      {.key = "dense_percent",
       .title = "of dense",
       .unit = "%",
       .decimals = 1,
       .in_table = mask || score},
      {.key = "plan_ms", .title = "plan", .unit = "ms", .decimals = 3, .in_table = mask},
      {.key = "run_bytes", .title = "runs", .unit = "bytes", .in_table = mask},
      {.key = "sparsity_percent",
       .title = "sparsity",
       .unit = "%",
       .decimals = 1,
       .in_table = mask},
      {.key = "tile_scores", .title = "scores of 64x64 tiles", .unit = "", .in_table = mask},
      {.key = "limit_percent", .title = "of limit", .unit = "%", .decimals = 1},
      {.key = "limited_by", .title = "limited", .unit = "by"},
      {.key = "read_probe_gbps", .title = "read probe", .unit = "GB/s", .decimals = 1},
      {.key = "multiply_probe_gflops", .title = "multiplies", .unit = "GFLOP/s", .decimals = 1},
      {.key = "huge_page_percent", .title = "huge pages", .unit = "%"},
      hidden("arithmetic"),
      hidden("limit_us"),
      hidden("backend"),
      hidden("cache"),
      hidden("copies"),
      hidden("rotation_bytes"),
      hidden("kv_bytes"),
      hidden("flops"),
      hidden("read_probe_loop"),
  };
}

std::vector<Fact> sweep_environment(const Context& context, const SweepSettings& settings) {
  std::vector<Fact> facts = read_environment(context);
  // These change from row to row.
  std::erase_if(facts, [](const Fact& fact) {
    return fact.key == "threads" || fact.key == "isa" || fact.key == "isa_reason";
  });
  const ColdRule& rule = settings.cold_rule;
  facts.push_back({"last_level_cache_mb", "last-level cache MB", rule.llc_bytes >> 20});
  facts.push_back({"cache", "K and V", settings.cold ? "cold" : "hot in the caches"});
  if (settings.cold) {
    facts.push_back({"rotation_mb", "rotation MB", rule.rotation_bytes >> 20});
  }
  return facts;
}

std::vector<Value> sweep_row(const SweepCase& c, const SweepResult& r, bool cold) {
  const bool planned = r.plan.repeats > 0;
  return {
      std::string(to_string(c.dtype)),
      fmt::format("{}/{}", c.heads.q, c.heads.kv),
      int64_t{c.head_dim},
      int64_t{c.head_dim_v},
      std::string(to_string(c.layout)),
      c.page_size == 0 ? Value() : Value(int64_t{c.page_size}),
      c.causal,
      c.window == 0 ? Value() : Value(int64_t{c.window}),
      double{c.softcap},
      int64_t{c.ragged},
      c.mask,
      c.score,
      int64_t{c.batch},
      int64_t{c.q_len},
      int64_t{c.kv_len},
      r.backend == kCudaBackend ? Value() : Value(int64_t{c.threads}),
      r.isa.empty() ? Value() : Value(r.isa),
      r.seconds.median * kMicro,
      r.seconds.p10 * kMicro,
      r.seconds.p90 * kMicro,
      noise_percent(r),
      r.repeats,
      r.lost_share < 0.0 ? Value() : Value(100.0 * r.lost_share),
      static_cast<double>(r.work.kv_bytes) / r.seconds.median * kGiga,
      r.rate() * kGiga,
      r.beside_rate > 0.0 ? Value(100.0 * r.rate() / r.beside_rate) : Value(),
      planned ? Value(r.plan.seconds.median * kMilli) : Value(),
      planned ? Value(r.plan.run_bytes) : Value(),
      planned ? Value(100.0 * sparsity_of(c, r.work)) : Value(),
      planned ? Value(r.work.flops / (2 * (int64_t{c.head_dim} + c.head_dim_v))) : Value(),
      limit_percent(r.limit, r.seconds.median),
      r.limit.bound == Bound::kMemory ? std::string("read") : r.arithmetic,
      r.read_rate * kGiga,
      r.flop_rate * kGiga,
      percent_or_nothing(r.huge_percent),
      r.arithmetic,
      r.limit.seconds * kMicro,
      r.backend,
      std::string(cold ? "cold" : "hot"),
      r.copies,
      r.rotation_bytes,
      r.work.kv_bytes,
      r.work.flops,
      r.read_variant,
  };
}

}  // namespace attnrt::perf
