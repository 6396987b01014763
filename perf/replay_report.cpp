// SPDX-License-Identifier: Apache-2.0
// Turns sums into rates and shares and names them.
#include "perf/replay_report.hpp"

#include <fmt/format.h>

#include <utility>

#include "perf/environment.hpp"
#include "perf/statistics.hpp"

namespace attnrt::perf {
namespace {

constexpr double kMega = 1e6;
constexpr double kGiga = 1e9;
constexpr double kMebi = 1024.0 * 1024.0;

/// Fills the columns and the only row of a report side by side.
class RowBuilder {
 public:
  void section(std::string name) { section_ = std::move(name); }

  void add(std::string key, std::string title, Value value, std::string unit = {},
           int decimals = 1) {
    report_.columns.push_back(
        {std::move(key), std::move(title), std::move(unit), decimals, true, section_});
    row_.push_back(std::move(value));
  }

  /// For programs only.
  void add_hidden(std::string key, Value value) {
    report_.columns.push_back({std::move(key), {}, {}, 0, false, section_});
    row_.push_back(std::move(value));
  }

  Report finish() {
    report_.vertical = true;
    report_.rows.push_back(std::move(row_));
    return std::move(report_);
  }

 private:
  Report report_;
  std::vector<Value> row_;
  std::string section_;
};

Value quotient(double numerator, double denominator) {
  if (denominator <= 0.0) return {};
  return numerator / denominator;
}

Value percent(double part, double whole) { return quotient(100.0 * part, whole); }

Value latency_us(const ReplayResult& result, double percentile_percent) {
  if (result.step_seconds.empty()) return {};
  return percentile(result.step_seconds, percentile_percent) * kMega;
}

void add_workload(RowBuilder& row, const Trace& trace, const ReplayOptions& options) {
  const AttentionSpec& spec = options.model.shape();
  row.section("Workload");
  row.add("trace", "trace", trace.name);
  row.add("trace_format", "format", trace.format);
  row.add("model", "model", options.model.name);
  std::string kinds;
  for (const LayerKind& kind : options.model.kinds) {
    kinds += (kinds.empty() ? "" : ", ") + kind.name;
  }
  row.add("layer_kinds", "attention", kinds);
  row.add("heads", "heads q/kv", fmt::format("{}/{}", spec.num_heads_q, spec.num_heads_kv));
  row.add("head_dims", "head dim k/v", fmt::format("{}/{}", spec.head_dim, spec.head_dim_v));
  row.add("dtype", "dtype", std::string(to_string(options.dtype)));
  row.add("layout", "layout", std::string(to_string(options.layout)));
  row.add("page_size", "page size", int64_t{options.scheduling.page_size}, "keys");
  row.add("layers", "layers per step", int64_t{options.layers});
  row.add("chunk", "prefill chunk", int64_t{options.scheduling.chunk}, "tokens");
  row.add("max_batch", "largest batch allowed", int64_t{options.scheduling.max_batch});
  row.add_hidden("seed", static_cast<int64_t>(options.seed));
  row.add_hidden("time_scale", options.scheduling.time_scale);
}

void add_progress(RowBuilder& row, const Trace& trace, const ReplayResult& result) {
  row.section("Done");
  row.add("requests", "requests finished", result.requests_finished);
  row.add("requests_in_trace", "requests asked for", static_cast<int64_t>(trace.requests.size()));
  row.add("prompt_tokens", "prompt tokens", result.prompt_tokens);
  row.add("output_tokens", "output tokens", result.output_tokens);
  row.add("steps", "steps", result.steps());
  row.add("mean_batch", "mean batch",
          quotient(static_cast<double>(result.batch_sum), static_cast<double>(result.steps())),
          "sequences");
  row.add("largest_batch", "largest batch", result.largest_batch, "sequences");
  row.add_hidden("interrupted", result.interrupted);
}

void add_speed(RowBuilder& row, const ReplayOptions& options, const ReplayResult& result) {
  const PhaseSeconds& phases = result.phases;
  const auto tokens = static_cast<double>(result.query_tokens);
  AttendWork all = result.decode_steps;
  all += result.prefill_steps;
  row.section("Speed");
  row.add("attention_tokens_per_s", "attention, one layer",
          quotient(tokens * options.layers, phases.attend), "tokens/s", 0);
  row.add("tokens_per_s", "all phases, all layers", quotient(tokens, phases.total()), "tokens/s",
          0);
  row.add("median_us", "step latency p50", latency_us(result, 50.0), "us");
  row.add("p90_us", "step latency p90", latency_us(result, 90.0), "us");
  row.add("p99_us", "step latency p99", latency_us(result, 99.0), "us");
  row.add("kv_read_gb", "KV read", static_cast<double>(all.kv_bytes) / kGiga, "GB", 2);
  row.add("kv_gbps", "KV read, all steps",
          quotient(static_cast<double>(all.kv_bytes) / kGiga, all.seconds), "GB/s", 2);
  row.add("gflops", "attention, all steps", quotient(all.flops / kGiga, all.seconds), "GFLOP/s");
  row.add("decode_kv_gbps", "KV read, decode-only steps",
          quotient(static_cast<double>(result.decode_steps.kv_bytes) / kGiga,
                   result.decode_steps.seconds),
          "GB/s", 2);
  row.add("prefill_gflops", "attention, steps with prefill",
          quotient(result.prefill_steps.flops / kGiga, result.prefill_steps.seconds), "GFLOP/s");
  const Rates& rates = result.rates;
  const auto rate = [](double value) { return value > 0.0 ? Value(value / kGiga) : Value(); };
  row.add("read_probe_gbps", "read probe", rate(rates.read_bytes_per_second), "GB/s", 2);
  row.add("fma_probe_gflops", "FMA probe", rate(rates.flops_per_second), "GFLOP/s");
  const Value percent_of_limit =
      result.limit_seconds > 0.0 ? percent(result.limit_seconds, phases.attend) : Value();
  row.add("limit_percent", "attend, of what these allow", percent_of_limit, "%");
}

// The workers' time tells how attend's divides.
Value merge_share(const ReplayResult& result) {
  const auto merge = static_cast<double>(result.workers.merge_ns);
  const double all = merge + static_cast<double>(result.workers.attend_ns);
  if (all == 0.0) return {};
  return percent(result.phases.attend * merge / all, result.phases.total());
}

void add_shares(RowBuilder& row, const ReplayResult& result) {
  const PhaseSeconds& phases = result.phases;
  const double total = phases.total();
  row.section("Share of time");
  row.add("total_s", "all steps", total, "s", 2);
  row.add("plan_percent", "plan", percent(phases.plan, total), "%");
  row.add("append_percent", "append", percent(phases.append, total), "%");
  row.add("attend_percent", "attend", percent(phases.attend, total), "%");
  row.add("merge_percent", "merging, of these", merge_share(result), "%");
  row.add("schedule_percent", "engine loop", percent(phases.schedule, total), "%");
}

void add_padding(RowBuilder& row, const ReplayOptions& options, const ReplayResult& result) {
  const PaddedCost& cost = result.padding;
  const double key_gb =
      static_cast<double>(options.model.token_bytes(options.dtype) * options.layers) / kGiga;
  const auto ragged_gb = static_cast<double>(cost.keys) * key_gb;
  const auto padded_gb = static_cast<double>(cost.padded_keys) * key_gb;
  row.section("If every sequence were padded to the longest of its step");
  row.add("tokens", "query tokens", cost.tokens);
  row.add("padded_tokens", "query tokens, padded", cost.padded_tokens);
  row.add("padded_tokens_factor", "times as many",
          quotient(static_cast<double>(cost.padded_tokens), static_cast<double>(cost.tokens)), "x",
          2);
  row.add("history_gb", "KV history, once a step", ragged_gb, "GB", 2);
  row.add("padded_history_gb", "KV history, padded", padded_gb, "GB", 2);
  row.add("padded_history_factor", "times as many", quotient(padded_gb, ragged_gb), "x", 2);
  row.add("padded_pairs_factor", "token-key pairs",
          quotient(static_cast<double>(cost.padded_pairs), static_cast<double>(cost.pairs)), "x",
          2);
}

void add_memory(RowBuilder& row, const ReplayResult& result) {
  row.section("Memory");
  row.add("pages", "pages in the cache", int64_t{result.num_pages});
  row.add("peak_pages", "pages in use, at most", int64_t{result.peak_pages});
  row.add("pages_in_use", "pages in use, at the end", int64_t{result.pages_in_use});
  row.add("cache_mib", "keys and values, at most", static_cast<double>(result.cache_bytes) / kMebi,
          "MiB");
  row.add("huge_mib", "of the cache on huge pages",
          result.huge_bytes < 0 ? Value() : Value(static_cast<double>(result.huge_bytes) / kMebi),
          "MiB");
  row.add("partial_mib", "partial results, at most",
          static_cast<double>(result.largest_partial_bytes) / kMebi, "MiB");
  row.add("peak_memory_mib", "process, at most", static_cast<double>(peak_memory_bytes()) / kMebi,
          "MiB");
}

void add_check(RowBuilder& row, const ReplayOptions& options, const ReplayResult& result) {
  const bool asked = options.check_rows > 0;
  const bool any = result.rows_checked > 0;
  row.section("Compared with the reference");
  row.add("checked_rows", "rows", asked ? Value(result.rows_checked) : Value());
  row.add("failed_rows", "rows beyond the bound", asked ? Value(result.rows_failed) : Value());
  row.add("worst_error_ratio", "largest error of out", any ? Value(result.worst_out) : Value(),
          "of its bound", 3);
  row.add("worst_lse_ratio", "largest error of LSE", any ? Value(result.worst_lse) : Value(),
          "of its bound", 3);
}

}  // namespace

Report replay_report(const Trace& trace, const ReplayOptions& options, const ReplayResult& result) {
  RowBuilder row;
  add_workload(row, trace, options);
  add_progress(row, trace, result);
  add_speed(row, options, result);
  add_shares(row, result);
  add_padding(row, options, result);
  add_memory(row, result);
  add_check(row, options, result);
  return row.finish();
}

}  // namespace attnrt::perf
