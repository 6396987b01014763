// SPDX-License-Identifier: Apache-2.0
// The subcommand `tune`: its options, and the loop over row counts.
#include "perf/tune_command.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "attnrt/runtime.hpp"
#include "backends/cpu/cpu_family.hpp"
#include "perf/context_pool.hpp"
#include "perf/host_device.hpp"
#include "perf/parse.hpp"
#include "perf/progress.hpp"
#include "perf/sweep_report.hpp"
#include "perf/tune.hpp"
#include "perf/value_list.hpp"

namespace attnrt::perf {
namespace {

// A table takes over where it is faster by more than two medians differ by chance.
constexpr double kNoise = 0.03;

struct TuneOptions {
  std::string isa, dtype = "bf16", rotation, rows;
  int32_t threads = 0;
  double max_seconds = 2.0;
  OutputOptions output;
};

std::vector<std::string> parse_isas(const TuneOptions& options) {
  std::vector<std::string> isas;
  if (!options.isa.empty()) {
    for (const std::string_view name : split_list("--isa", options.isa)) isas.emplace_back(name);
    return isas;
  }
  for (const Capability& isa : Runtime::isas()) {
    if (isa.available) isas.push_back(isa.name);
  }
  // It stands last and is what the others are made to beat.
  if (isas.size() > 1) isas.pop_back();
  return isas;
}

std::vector<int64_t> parse_rows(const TuneOptions& options) {
  if (options.rows.empty()) return {std::begin(kTuneRows), std::end(kTuneRows)};
  std::vector<int64_t> rows = parse_value_list("--rows", options.rows, {.max = 4096});
  for (const int64_t count : rows) {
    if (count > 32 && count % 4 != 0) {
      throw BadInput(fmt::format("--rows: '{}' is more than 32 and no multiple of 4", count));
    }
  }
  return rows;
}

/// What is known of this CPU's family, beside what was measured now.
void add_family_note(const std::vector<TuneRow>& rows, Report& report) {
  const cpu::CpuFamily& family = cpu::find_family(cpu::cpu_identity());
  const std::string known =
      family.bf16_dot_over_fma > 0.0
          ? fmt::format("{}: {:.1f} ({})", family.name, family.bf16_dot_over_fma, family.source)
          : std::string(family.source);
  double fma = 0.0;
  double dot = 0.0;
  for (const SweepResult& result : rows.front().results) {
    if (result.arithmetic == "bf16 dot") dot = result.flop_rate;
    if (result.arithmetic == "f32 FMA") fma = std::max(fma, result.flop_rate);
  }
  if (dot == 0.0 || fma == 0.0) {
    report.notes.push_back("bf16 dot over f32 FMA, shipped: " + known);
    return;
  }
  report.notes.push_back(
      fmt::format("bf16 dot over f32 FMA: {:.2f}; shipped: {}", dot / fma, known));
}

void add_notes(const std::vector<TuneRow>& rows, Report& report) {
  if (rows.empty()) return;
  add_family_note(rows, report);
  const std::string onednn = over_others(rows, "onednn");
  if (!onednn.empty()) {
    const double shipped = cpu::find_family(cpu::cpu_identity()).onednn_over_own;
    report.notes.push_back(fmt::format("{}; shipped, where it is worst: {}", onednn,
                                       shipped > 0.0 ? fmt::format("{:.2f}", shipped) : "nothing"));
  }
  for (const std::string& line : crossovers(rows, kNoise)) report.notes.push_back(line);
  std::string isa;
  std::string reason;
  if (!Runtime::default_isa(isa, reason).ok()) return;
  const std::string behind = behind_best(rows, isa);
  if (!behind.empty()) {
    report.notes.push_back(fmt::format("default ({}): {}", reason, behind));
  }
}

/// What the command line says, checked.
struct Comparison {
  std::vector<int64_t> row_counts;
  DType dtype;
  SweepSettings settings;
  std::vector<Context*> contexts;
};

Comparison parse_comparison(const TuneOptions& options, ContextPool& pool) {
  if (!(options.max_seconds > 0.0)) throw BadInput("--max-seconds must be more than 0");
  Comparison comparison;
  comparison.row_counts = parse_rows(options);
  comparison.dtype = parse_dtype("--dtype", options.dtype);
  comparison.settings.repeat.max_seconds = options.max_seconds;
  comparison.settings.cold_rule = cold_rule_here();
  if (!options.rotation.empty()) {
    comparison.settings.cold_rule.rotation_bytes = parse_count("--rotation", options.rotation);
  }
  const int32_t all = std::max(1, static_cast<int32_t>(std::thread::hardware_concurrency()));
  for (const std::string& isa : parse_isas(options)) {
    Context* context = nullptr;
    const Status status = pool.get(options.threads == 0 ? all : options.threads, isa, context);
    if (!status.ok()) throw BadInput(status.message());
    comparison.contexts.push_back(context);
  }
  return comparison;
}

Status measure_rows(const Comparison& comparison, CommandIo& io, std::vector<TuneRow>& rows) {
  const std::vector<Context*>& contexts = comparison.contexts;
  HostDevice device;
  SweepRunner runner(comparison.settings, device);
  Progress progress(io.err, io.show_progress, static_cast<int64_t>(comparison.row_counts.size()));
  for (const int64_t count : comparison.row_counts) {
    progress.update(static_cast<int64_t>(rows.size()), fmt::format("{} rows", count));
    const SweepCase shape =
        tune_case(static_cast<int32_t>(count), comparison.dtype, contexts.front()->num_threads());
    std::vector<SweepEntry> entries;
    for (Context* context : contexts) entries.push_back({shape, *context});
    TuneRow row{.rows = static_cast<int32_t>(count), .results = {}};
    const Status status = runner.measure_together(entries, io, row.results);
    if (!status.ok()) return status;
    rows.push_back(std::move(row));
  }
  return {};
}

int run_tune(const TuneOptions& options, CommandIo& io) {
  ContextPool pool("cpu");
  const Comparison comparison = parse_comparison(options, pool);
  ReportOutput output(options.output, io.out);
  std::vector<TuneRow> rows;
  const Status status = measure_rows(comparison, io, rows);
  Report report = tune_report(rows);
  report.environment = sweep_environment(*comparison.contexts.front(), comparison.settings);
  add_notes(rows, report);
  output.write(report);
  if (status.ok()) return kExitOk;
  if (status.code() == Code::kCancelled) return kExitInterrupted;
  io.err << "attnrt-perf: " << status.message() << '\n';
  return kExitFailed;
}

}  // namespace

CLI::App* add_tune_command(CLI::App& app, CommandRun& run) {
  CLI::App* command = app.add_subcommand(
      "tune",
      "Measures the kernels that this machine can run in turn, by the rows (query tokens x group) "
      "that share a key, and says which is fastest from where on.");
  const auto options = std::make_shared<TuneOptions>();
  TuneOptions& o = *options;
  command->add_option("--isa", o.isa, "tables to compare [all that run here but the last]")
      ->type_name("LIST");
  command->add_option("--rows", o.rows, "row counts [1,2,4,8,16,32,256]")->type_name("LIST");
  command->add_option("--dtype", o.dtype, "bf16, f16 or f32, of q and the cache [bf16]")
      ->type_name("NAME");
  command->add_option("--threads", o.threads, "threads of the library [all]")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option(
          "--rotation", o.rotation,
          "bytes that are read before a copy's turn comes again [8 x the last-level cache, "
          "at least 512m]")
      ->type_name("BYTES");
  command->add_option("--max-seconds", o.max_seconds, "no longer than this for a row count [2]")
      ->type_name("SECONDS");
  add_output_options(*command, o.output);
  run = [options](CommandIo& io) { return run_tune(*options, io); };
  return command;
}

}  // namespace attnrt::perf
