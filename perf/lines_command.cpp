// SPDX-License-Identifier: Apache-2.0
// The subcommand `lines`: its options, and the loop over its rows.
#include "perf/lines_command.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "perf/context_pool.hpp"
#include "perf/host_device.hpp"
#include "perf/lines.hpp"
#include "perf/mask_rows.hpp"
#include "perf/parse.hpp"
#include "perf/plan_probe.hpp"
#include "perf/progress.hpp"
#include "perf/report.hpp"
#include "perf/sweep.hpp"
#include "perf/sweep_report.hpp"
#include "perf/value_list.hpp"

namespace attnrt::perf {
namespace {

struct LinesOptions {
  std::string only, layout = "packed16", commit, rotation;
  bool masks = false;
  bool list = false;
  bool quick = false;
  double noise_percent = 1.0;
  double max_seconds = 3.0;
  OutputOptions output{.format = Format::kMarkdown, .file = {}};
};

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

SweepSettings parse_settings(const LinesOptions& options) {
  if (!(options.noise_percent > 0.0)) throw BadInput("--noise must be more than 0 percent");
  if (!(options.max_seconds > 0.0)) throw BadInput("--max-seconds must be more than 0");
  constexpr double kQuickNoise = 0.05;
  constexpr double kQuickSeconds = 0.3;
  SweepSettings settings;
  settings.repeat.noise = options.quick ? kQuickNoise : options.noise_percent / 100.0;
  settings.repeat.max_seconds = options.quick ? kQuickSeconds : options.max_seconds;
  settings.cold_rule = cold_rule_here();
  if (!options.rotation.empty()) {
    settings.cold_rule.rotation_bytes = parse_count("--rotation", options.rotation);
  }
  return settings;
}

std::vector<LineRow> parse_rows(const LinesOptions& options) {
  const KvLayout layout = parse_layout("--layout", options.layout);
  if (layout == KvLayout::kPacked) throw BadInput("--layout is 'packed'; most rows have pages");
  std::vector<std::string> names;
  if (!options.only.empty()) {
    for (const std::string_view name : split_list("--only", options.only)) names.emplace_back(name);
  }
  return select_lines(options.masks ? mask_rows(layout) : line_rows(layout), names);
}

int print_list(const std::vector<LineRow>& rows, CommandIo& io) {
  for (const LineRow& row : rows) {
    for (const Line& line : row.lines) {
      io.out << fmt::format("{:<24}  {:<76}  {}\n", row.name, row.work, line_text(line));
    }
  }
  return kExitOk;
}

/// Once more where other processes had the CPUs for so much of the row's time that it says more
/// about them: the less disturbed of the two stays, whatever it says.
Status measure_row(const LineRow& row, SweepRunner& runner, Context& context, CommandIo& io,
                   SweepResult& result) {
  std::vector<SweepEntry> entries{{row.shape, context}};
  if (row.beside) entries.push_back({*row.beside, context});
  std::vector<SweepResult> results;
  Status status = runner.measure_together(entries, io, results);
  if (!status.ok()) return status;
  result = results.front();
  result.beside = results.back().seconds;
  if (result.lost_share <= kLostShare) return status;
  status = runner.measure_together(entries, io, results);
  if (!status.ok() || results.front().lost_share >= result.lost_share) return status;
  result = results.front();
  result.beside = results.back().seconds;
  return status;
}

/// The mask is evaluated at so many elements, and the time scaled to all of them.
constexpr int64_t kElementSamples = int64_t{1} << 22;

Status measure_plan_row(const LineRow& row, const SweepSettings& settings, LineOutcome& outcome) {
  const CaseInput input(row.shape);
  SweepResult& result = outcome.result;
  Status status = measure_plan(input, settings.repeat, result.plan);
  result.seconds = result.plan.seconds;
  result.repeats = result.plan.repeats;
  const auto asks = [](const Line& line) { return line.kind == LineKind::kPlanShare; };
  if (status.ok() && std::any_of(row.lines.begin(), row.lines.end(), asks)) {
    outcome.every_element = element_seconds(input, kElementSamples) * mask_elements(input);
  }
  return status;
}

Status measure_rates(std::span<const LineRow> rows, SweepRunner& runner, Context& context,
                     CommandIo& io, LineOutcomes& outcomes) {
  std::vector<SweepEntry> entries;
  for (const LineRow& row : rows) entries.push_back({row.shape, context});
  entries.push_back({*rows.front().beside, context});
  std::vector<SweepResult> results;
  const Status status = runner.measure_together(entries, io, results);
  if (status.code() == Code::kCancelled) return status;
  for (size_t i = 0; i < rows.size(); ++i) {
    LineOutcome& outcome = outcomes[rows[i].name];
    outcome.why_not = status.message();
    if (!status.ok()) continue;
    outcome.result = results[i];
    outcome.result.beside = results.back().seconds;
  }
  return {};
}

/// Cancelled, or ok with what became of the row.
Status measure_alone(const LineRow& row, SweepRunner& runner, Context& context, CommandIo& io,
                     LineOutcomes& outcomes) {
  LineOutcome outcome;
  const Status status = measure_row(row, runner, context, io, outcome.result);
  if (status.code() == Code::kCancelled) return status;
  outcome.why_not = status.message();
  outcomes.emplace(row.name, std::move(outcome));
  return {};
}

/// Not ok where the rows after it are missing.
Status measure_rows(const std::vector<LineRow>& rows, const SweepSettings& settings,
                    ContextPool& contexts, CommandIo& io, LineOutcomes& outcomes) {
  HostDevice device;
  SweepRunner runner(settings, device);
  Progress progress(io.err, io.show_progress, static_cast<int64_t>(rows.size()));
  for (std::span<const LineRow> left = rows; !left.empty();) {
    const std::span<const LineRow> together = left.first(rows_together(left));
    left = left.subspan(together.size());
    const LineRow& row = together.front();
    progress.update(static_cast<int64_t>(outcomes.size()), row.name);
    if (io.stop.stop_requested()) return {Code::kCancelled, "interrupted"};
    if (row.plan_only) {
      LineOutcome& outcome = outcomes[row.name];
      outcome.why_not = measure_plan_row(row, settings, outcome).message();
      continue;
    }
    Context* context = nullptr;
    Status status = contexts.get(row.shape.threads, row.shape.isa, context);
    if (!status.ok()) {
      for (const LineRow& other : together) outcomes[other.name].why_not = status.message();
      continue;
    }
    status = together.size() > 1 ? measure_rates(together, runner, *context, io, outcomes)
                                 : measure_alone(row, runner, *context, io, outcomes);
    if (!status.ok()) return status;
  }
  return {};
}

int run_lines(const LinesOptions& options, CommandIo& io) {
  const std::vector<LineRow> rows = parse_rows(options);
  if (options.list) return print_list(rows, io);
  const SweepSettings settings = parse_settings(options);
  ContextPool contexts("cpu");
  Context* context = nullptr;
  Status status = contexts.get(rows.front().shape.threads, {}, context);
  if (!status.ok()) throw BadInput(status.message());
  ReportOutput output(options.output, io.out);

  Report report;
  report.environment = sweep_environment(*context, settings);
  report.environment.push_back({"date", "date", today()});
  if (!options.commit.empty()) report.environment.push_back({"commit", "commit", options.commit});
  report.columns = line_columns(options.masks);
  LineOutcomes outcomes;
  status = measure_rows(rows, settings, contexts, io, outcomes);
  add_line_rows(rows, outcomes, report);
  const LineCount count = count_lines(rows, outcomes);
  report.notes.push_back(fmt::format("{} of {} lines are met.", count.met, count.judged));
  if (const std::string fit = linearity_text(rows, outcomes); !fit.empty()) {
    report.notes.push_back(fit);
  }
  if (!status.ok()) {
    report.notes.push_back(
        fmt::format("interrupted: {} of {} rows were measured", outcomes.size(), rows.size()));
  }
  output.write(report);
  if (!status.ok()) return kExitInterrupted;
  return count.met == count.judged ? kExitOk : kExitFailed;
}

}  // namespace

CLI::App* add_lines_command(CLI::App& app, CommandRun& run) {
  CLI::App* command = app.add_subcommand(
      "lines",
      "Measures the calls that the CPU kernels are held to, each with its line: a share of what "
      "the machine can do. Exit code 1 where a line is not met.");
  const auto options = std::make_shared<LinesOptions>();
  LinesOptions& o = *options;
  command
      ->add_option("--only", o.only,
                   "only these rows: names, or what they begin with, as decode-g4,prefill [all]")
      ->type_name("LIST");
  command->add_flag("--masks", o.masks,
                    "the lines of masks and scores as expressions in place of the kernels'");
  command->add_flag("--list", o.list, "print the rows and their lines, measure nothing");
  command->add_flag("--quick", o.quick, "few repeats: to look, not to judge");
  command->add_option("--layout", o.layout, "of pages: nhd, hnd or packed16 [packed16]")
      ->type_name("NAME");
  command->add_option("--commit", o.commit, "name of the build, for the report's head")
      ->type_name("TEXT");
  command
      ->add_option(
          "--rotation", o.rotation,
          "bytes that are read before a copy's turn comes again [8 x the last-level cache, "
          "at least 512m]")
      ->type_name("BYTES");
  command
      ->add_option("--noise", o.noise_percent,
                   "repeat until half of the median's 95% confidence interval is below this [1]")
      ->type_name("PERCENT");
  command->add_option("--max-seconds", o.max_seconds, "but no longer than this for a row [3]")
      ->type_name("SECONDS");
  add_output_options(*command, o.output);
  run = [options](CommandIo& io) { return run_lines(*options, io); };
  return command;
}

}  // namespace attnrt::perf
