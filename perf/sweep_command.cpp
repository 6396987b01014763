// SPDX-License-Identifier: Apache-2.0
// The subcommand `sweep`: its options, and the loop over its rows.
#include "perf/sweep_command.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "perf/context_pool.hpp"
#include "perf/cuda_device.hpp"
#include "perf/named_masks.hpp"
#include "perf/parse.hpp"
#include "perf/progress.hpp"
#include "perf/report.hpp"
#include "perf/sweep.hpp"
#include "perf/sweep_report.hpp"
#include "perf/value_list.hpp"

namespace attnrt::perf {
namespace {

/// The command line as it was typed.
struct SweepOptions {
  std::string batch = "1", q_len = "1", kv_len = "4k", heads = "32/8", head_dim = "128";
  std::string head_dim_v, dtype = "bf16", page_size = "16", layout = "nhd", threads, isa;
  std::string causal = "off", window = "none", ragged = "0", cache = "cold", backend, rotation;
  std::string mask, score;
  double softcap = 0.0;
  double noise_percent = 3.0;
  double max_seconds = 3.0;
  OutputOptions output;
};

/// A list whose items `parse` turns into values.
template <class Parse>
auto parse_items(std::string_view option, const std::string& text, Parse parse) {
  std::vector<decltype(parse(option, std::string_view()))> values;
  for (const std::string_view item : split_list(option, text))
    values.push_back(parse(option, item));
  return values;
}

bool parse_switch(std::string_view option, std::string_view text) {
  if (text == "on" || text == "true") return true;  // CLI11 says true where the value is left out
  if (text == "off" || text == "false") return false;
  throw BadInput(fmt::format("{} is '{}'; known: on, off", option, text));
}

KvLayout parse_sweep_layout(std::string_view option, std::string_view text) {
  // The word of calls without pages: cu_seqlens_k, sequences one after the other.
  return text == "varlen" ? KvLayout::kPacked : parse_layout(option, text);
}

// Looked up here for some length, so that a bad one ends the command before anything is measured.
constexpr NamedShape kAnyShape{.tokens = 64, .heads = 1};

std::vector<std::string> parse_masks(const std::string& text) {
  std::vector<std::string> masks = split_expressions("--mask", text);
  for (const std::string& mask : masks) (void)named_mask(mask, kAnyShape);
  return masks;
}

std::vector<std::string> parse_scores(const std::string& text) {
  std::vector<std::string> scores = split_expressions("--score", text);
  for (const std::string& score : scores) (void)named_score(score, kAnyShape);
  return scores;
}

SweepLists parse_lists(const SweepOptions& options) {
  constexpr ValueRules kDims{.max = 4096};
  SweepLists lists;
  lists.batches = parse_value_list("--batch", options.batch);
  lists.q_lens =
      parse_value_list("--q-len", options.q_len, {.word = "kv", .word_value = kQueryPerKey});
  lists.kv_lens = parse_value_list("--kv-len", options.kv_len);
  lists.heads = parse_items("--heads", options.heads, parse_heads);
  lists.head_dims = parse_value_list("--head-dim", options.head_dim, kDims);
  if (!options.head_dim_v.empty()) {
    lists.head_dims_v = parse_value_list("--head-dim-v", options.head_dim_v, kDims);
  }
  lists.dtypes = parse_items("--dtype", options.dtype, parse_dtype);
  lists.page_sizes = parse_value_list("--page-size", options.page_size, {.max = 65536});
  lists.layouts = parse_items("--layout", options.layout, parse_sweep_layout);
  lists.causal = parse_items("--causal", options.causal, parse_switch);
  lists.windows =
      parse_value_list("--window", options.window, {.min = 0, .word = "none", .word_value = 0});
  if (!options.mask.empty()) lists.masks = parse_masks(options.mask);
  if (!options.score.empty()) lists.scores = parse_scores(options.score);
  lists.ragged = parse_value_list("--ragged", options.ragged, {.min = 0});
  lists.threads = {std::max<int64_t>(1, std::thread::hardware_concurrency())};
  if (options.backend == kCudaBackend) lists.threads = {1};
  if (!options.threads.empty()) {
    lists.threads = parse_value_list("--threads", options.threads, {.max = 1024});
  }
  if (!options.isa.empty()) {
    lists.isas.clear();
    for (const std::string_view name : split_list("--isa", options.isa)) {
      lists.isas.emplace_back(name);
    }
  }
  return lists;
}

SweepSettings parse_settings(const SweepOptions& options) {
  if (!(options.noise_percent > 0.0)) throw BadInput("--noise must be more than 0 percent");
  if (!(options.max_seconds > 0.0)) throw BadInput("--max-seconds must be more than 0");
  if (!std::isfinite(static_cast<float>(options.softcap)) || options.softcap < 0.0) {
    throw BadInput(fmt::format("--softcap is {}; it must be 0 (none) or more", options.softcap));
  }
  if (options.cache != "cold" && options.cache != "hot") {
    throw BadInput(fmt::format("--cache is '{}'; known: cold, hot", options.cache));
  }
  SweepSettings settings;
  settings.cold = options.cache == "cold";
  settings.repeat.noise = options.noise_percent / 100.0;
  settings.repeat.max_seconds = options.max_seconds;
  return settings;
}

ColdRule parse_cold_rule(const SweepOptions& options, const MeasuredDevice& device) {
  ColdRule rule = cold_rule_of(device);
  if (!options.rotation.empty()) rule.rotation_bytes = parse_count("--rotation", options.rotation);
  return rule;
}

/// Options that are of the CPU, and combinations that the CUDA backend lacks with any GPU.
void leave_out_for_cuda(const SweepOptions& options, std::vector<SweepCase>& cases,
                        std::vector<std::string>& skipped) {
  if (!options.threads.empty()) throw BadInput("--threads is of the CPU, --backend cuda has none");
  if (!options.isa.empty()) throw BadInput("--isa is of the CPU, --backend cuda has none");
  std::erase_if(cases, [&](const SweepCase& c) {
    const std::string lacks = cuda_lacks({c.dtype, c.layout, c.head_dim, c.head_dim_v});
    if (!lacks.empty()) skipped.push_back(describe(c) + ": " + lacks);
    return !lacks.empty();
  });
}

/// Makes all contexts before anything is measured, so that a wrong name costs nothing.
void make_contexts(const SweepLists& lists, ContextPool& contexts) {
  for (const std::string& isa : lists.isas) {
    for (const int64_t threads : lists.threads) {
      Context* context = nullptr;
      const Status status = contexts.get(threads, isa, context);
      if (!status.ok()) throw BadInput(status.message());
    }
  }
}

/// What happened besides the rows.
struct SweepOutcome {
  bool disturbed = false;  // some row waited for CPUs more than kLostShare of its time
  Status stopped;          // not ok: the rows after it are missing
  size_t skipped = 0;
};

/// With a mask or a score, the dense call takes turns with it.
Status measure_case(const SweepCase& sweep_case, SweepRunner& runner, Context& context,
                    CommandIo& io, SweepResult& result) {
  if (sweep_case.mask.empty() && sweep_case.score.empty()) {
    return runner.measure(sweep_case, context, io, result);
  }
  const SweepCase dense = dense_case(sweep_case);
  const SweepEntry entries[] = {{sweep_case, context}, {dense, context}};
  std::vector<SweepResult> results;
  Status status = runner.measure_together(entries, io, results);
  if (!status.ok()) return status;
  result = results.front();
  result.beside = results.back().seconds;
  result.beside_rate = results.back().rate();
  return status;
}

SweepOutcome measure_all(const std::vector<SweepCase>& cases, const SweepSettings& settings,
                         MeasuredDevice& device, ContextPool& contexts, CommandIo& io,
                         Report& report) {
  SweepOutcome outcome;
  SweepRunner runner(settings, device);
  Progress progress(io.err, io.show_progress, static_cast<int64_t>(cases.size()));
  for (const SweepCase& sweep_case : cases) {
    const auto done = static_cast<int64_t>(report.rows.size() + outcome.skipped);
    progress.update(done, describe(sweep_case));
    SweepResult result;
    Context* context = nullptr;
    Status status = contexts.get(sweep_case.threads, sweep_case.isa, context);
    if (status.ok()) status = measure_case(sweep_case, runner, *context, io, result);
    if (status.ok()) {
      report.rows.push_back(sweep_row(sweep_case, result, settings.cold));
      outcome.disturbed = outcome.disturbed || result.lost_share > kLostShare;
      continue;
    }
    if (status.code() != Code::kUnsupported && status.code() != Code::kOutOfMemory) {
      outcome.stopped = status;
      if (status.code() == Code::kCancelled) break;
      progress.finish();
      io.err << fmt::format("attnrt-perf: {}: {}\n", describe(sweep_case), status.message());
      break;
    }
    ++outcome.skipped;
    progress.finish();
    io.err << fmt::format("attnrt-perf: skipped {}: {}\n", describe(sweep_case), status.message());
  }
  return outcome;
}

int run_sweep(const SweepOptions& options, CommandIo& io) {
  const SweepLists lists = parse_lists(options);
  SweepSettings settings = parse_settings(options);
  std::vector<std::string> skipped;
  std::vector<SweepCase> cases = expand(lists, static_cast<float>(options.softcap), skipped);
  const bool cuda = options.backend == kCudaBackend;
  if (cuda) leave_out_for_cuda(options, cases, skipped);
  if (cases.empty()) throw BadInput("nothing to measure: " + skipped.front());
  const std::unique_ptr<MeasuredDevice> device = open_device(options.backend);
  settings.cold_rule = parse_cold_rule(options, *device);
  ContextPool contexts(options.backend);
  make_contexts(lists, contexts);
  ReportOutput output(options.output, io.out);
  for (const std::string& line : skipped) io.err << "attnrt-perf: skipped " << line << '\n';

  Report report;
  Context* context = nullptr;
  (void)contexts.get(cases.front().threads, cases.front().isa, context);
  report.environment = sweep_environment(*context, settings);
  if (cuda) report.environment.push_back({"device", "device", device->name()});
  report.columns = sweep_columns(cases);
  const SweepOutcome outcome = measure_all(cases, settings, *device, contexts, io, report);
  if (report.rows.empty() && outcome.skipped == cases.size()) return kExitBadInput;
  if (outcome.stopped.code() == Code::kCancelled) {
    report.notes.push_back(
        fmt::format("interrupted: {} of {} rows were measured", report.rows.size(), cases.size()));
  }
  if (outcome.disturbed) {
    report.notes.push_back(
        "other processes had the CPUs for a part of some rows' time (CPU lost): those are too "
        "slow, "
        "and their percentages too low");
  }
  output.write(report);
  if (outcome.stopped.ok()) return kExitOk;
  return outcome.stopped.code() == Code::kCancelled ? kExitInterrupted : kExitFailed;
}

void add_shape_options(CLI::App& app, SweepOptions& o) {
  const auto add = [&app](const char* name, std::string& text, const char* help) {
    app.add_option(name, text, help)->type_name("LIST");
  };
  add("--batch", o.batch, "sequences [1]");
  add("--q-len", o.q_len, "query tokens of a sequence; kv: as many as keys (prefill) [1]");
  add("--kv-len", o.kv_len, "keys of a sequence, those of the queries included [4k]");
  add("--heads", o.heads, "query heads/KV heads [32/8]");
  add("--head-dim", o.head_dim, "head dimension of q and K [128]");
  add("--head-dim-v", o.head_dim_v, "head dimension of V and out [as --head-dim]");
  add("--dtype", o.dtype, "bf16, f16, f32: of K, V, q and out [bf16]");
  add("--layout", o.layout, "nhd, hnd, packed16 (pages) or varlen (packed, no pages) [nhd]");
  add("--page-size", o.page_size, "keys of a page [16]");
  add("--window", o.window, "newest keys that a query sees, its own included; none: all [none]");
  add("--ragged", o.ragged,
      "lengths are random multiples of this up to --kv-len, the same in every run; 0: all alike "
      "[0]");
  app.add_option("--causal", o.causal, "off, on or off,on; --causal alone: on [off]")
      ->expected(0, 1)
      ->default_str("on")
      ->type_name("LIST");
  add("--mask", o.mask,
      "masks by name (flashmask: the twelve of its paper) or text, as \"kv <= q && q - kv < 512\" "
      "[none]");
  add("--score", o.score, "scores by name or text, as \"score - 0.1 * abs(q - kv)\" [none]");
  app.add_option("--softcap", o.softcap, "softcap * tanh(score / softcap); 0: none [0]");
}

void add_run_options(CLI::App& app, SweepOptions& o) {
  app.add_option("--threads", o.threads, "threads of the library [all]")->type_name("LIST");
  app.add_option("--isa", o.isa, "baseline, avx2, avx512 [ATTNRT_ISA, else the best here]")
      ->type_name("LIST");
  app.add_option("--backend", o.backend, "cpu, reference or cuda [cpu]")->type_name("NAME");
  app.add_option("--cache", o.cache,
                 "cold: copies of K and V in turn; hot: the same every time [cold]")
      ->type_name("NAME");
  app.add_option("--rotation", o.rotation,
                 "bytes that are read before a copy's turn comes again, such as 2g [8 x the "
                 "last-level cache, at least 512m]")
      ->type_name("BYTES");
  app.add_option("--noise", o.noise_percent,
                 "repeat until half of the median's 95% confidence interval is below this [3]")
      ->type_name("PERCENT");
  app.add_option("--max-seconds", o.max_seconds, "but no longer than this for a row [3]")
      ->type_name("SECONDS");
}

}  // namespace

CLI::App* add_sweep_command(CLI::App& app, CommandRun& run) {
  CLI::App* command = app.add_subcommand(
      "sweep",
      "Measures single calls: one row for every combination of the lists below. A list is 1,2,4 or "
      "a range begin:end*factor or begin:end+step, such as 4k:128k*2 or 512:2048+512.");
  const auto options = std::make_shared<SweepOptions>();
  add_shape_options(*command, *options);
  add_run_options(*command, *options);
  add_output_options(*command, options->output);
  run = [options](CommandIo& io) { return run_sweep(*options, io); };
  return command;
}

}  // namespace attnrt::perf
