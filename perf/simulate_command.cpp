// SPDX-License-Identifier: Apache-2.0
// Draws batches as `replay` does, plans them, and simulates the plans.
#include "perf/simulate_command.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "attnrt/runtime.hpp"
#include "perf/environment.hpp"
#include "perf/models.hpp"
#include "perf/report.hpp"
#include "perf/scheduler.hpp"
#include "perf/simulate.hpp"
#include "perf/statistics.hpp"
#include "perf/traces.hpp"
#include "perf/value_list.hpp"

namespace attnrt::perf {
namespace {

/// Batches that cannot be balanced by anybody are told apart: fewer pieces than this over 128
/// threads are fewer than 16 each, and one more or less is 6%.
constexpr int64_t kManyPieces = 2000;

struct SimulateWords {
  std::string trace;
  int64_t max_requests = kSyntheticRequests;
  uint64_t seed = 1;
  std::string model = "llama-3.1-8b";
  ShapeNumbers shape;
  std::string threads = "128";
  int32_t page_size = 16;
  int32_t chunk = 512;
  int32_t max_batch = 64;
  OutputOptions output;
};

/// Figures of the batches of one kind, each a median or a maximum over them.
struct Samples {
  std::vector<double> batch, items, pieces, units, balance, cut_percent, merge_percent, plan_us,
      trusted_us;
};

/// One row: a kind of layer, a number of threads, and which batches.
struct Group {
  const LayerKind* kind = nullptr;
  int32_t threads = 0;
  std::string batches;
  bool with_prompts = false;
  int64_t least_pieces = 0;
  Samples samples;
};

Trace read_words(const SimulateWords& words) {
  if (words.trace.empty()) return synthetic_trace(words.seed, words.max_requests);
  return read_trace(words.trace, words.max_requests);
}

/// Room for the longest sequences that a batch may hold: nothing is ever computed with it.
int32_t pages_of(const Trace& trace, const SimulateWords& words) {
  int64_t longest = 1;
  for (const Request& request : trace.requests) {
    longest = std::max(longest, pages_for(total_keys(request), words.page_size));
  }
  const int64_t sequences =
      std::min<int64_t>(words.max_batch, static_cast<int64_t>(trace.requests.size()));
  return static_cast<int32_t>(std::min(longest * sequences, int64_t{1} << 27));
}

double plan_us(const AttentionSpec& spec, const SequenceBatch& batch, Plan& plan,
               Validation validation) {
  const auto start = std::chrono::steady_clock::now();
  const Status status = make_plan(spec, batch, plan, {.validation = validation});
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
  if (!status.ok()) throw std::runtime_error("make_plan: " + status.message());
  return took.count();
}

class TraceSimulation {
 public:
  TraceSimulation(const Trace& trace, const Model& model, const SimulateWords& words,
                  const std::vector<int64_t>& threads)
      : words_(words),
        scheduler_(trace.requests, {.page_size = words.page_size,
                                    .num_pages = pages_of(trace, words),
                                    .chunk = words.chunk,
                                    .max_batch = words.max_batch}),
        plans_(model.kinds.size()) {
    for (const LayerKind& kind : model.kinds) {
      for (const int64_t count : threads) {
        const auto n = static_cast<int32_t>(count);
        groups_.push_back({&kind, n, "decode", false, 0, {}});
        groups_.push_back({&kind, n, "with prompts", true, 0, {}});
        groups_.push_back({&kind, n, "decode, many pieces", false, kManyPieces, {}});
        groups_.push_back({&kind, n, "with prompts, many pieces", true, kManyPieces, {}});
      }
    }
  }

  void run(const std::stop_token& stop) {
    while (!scheduler_.done() && !stop.stop_requested()) {
      scheduler_.begin_step(step_);
      for (size_t g = 0; g < groups_.size(); g += kGroupsPerPlan) add_step(g);
      scheduler_.end_step(step_, 0.0);
    }
    scheduler_.release_all();
  }

  [[nodiscard]] const std::vector<Group>& groups() const noexcept { return groups_; }

 private:
  static constexpr size_t kGroupsPerPlan = 4;

  void add_step(size_t first_group) {
    const Group& any = groups_[first_group];
    SequenceBatch batch;
    batch.cu_seqlens_q = step_.cu_seqlens_q;
    batch.seqused_k = step_.seqused_k;
    batch.block_table = BlockTable::dense(step_.block_table, step_.max_pages, words_.page_size);
    Plan& plan = plans_[static_cast<size_t>(any.kind - groups_.front().kind)];
    const double trusted = plan_us(any.kind->spec, batch, plan, Validation::kTrusted);
    const double full = plan_us(any.kind->spec, batch, plan, Validation::kFull);
    const SimulatedCall call = simulate_call(plan, any.threads);
    for (size_t g = first_group; g < first_group + kGroupsPerPlan; ++g) {
      Group& group = groups_[g];
      if (group.with_prompts != (step_.prompt_tokens > 0)) continue;
      if (call.pieces < group.least_pieces) continue;
      Samples& samples = group.samples;
      samples.batch.push_back(static_cast<double>(step_.size()));
      samples.items.push_back(static_cast<double>(call.items));
      samples.pieces.push_back(static_cast<double>(call.pieces));
      samples.units.push_back(static_cast<double>(call.units));
      samples.balance.push_back(call.balance());
      samples.cut_percent.push_back(call.cut_percent());
      samples.merge_percent.push_back(call.merge_percent());
      samples.plan_us.push_back(full);
      samples.trusted_us.push_back(trusted);
    }
  }

  const SimulateWords& words_;
  Scheduler scheduler_;
  std::vector<Plan> plans_;  // one per kind of layer, planned again for every step
  std::vector<Group> groups_;
  StepBatch step_;
};

Report make_report(const Trace& trace, const Model& model, const SimulateWords& words,
                   const std::vector<Group>& groups) {
  const AttentionSpec& spec = model.shape();
  Report report;
  report.environment = {
      {"version", "attnrt", std::string(Runtime::version())},
      {"cpu", "CPU", cpu_name()},
      {"trace", "trace", trace.name},
      {"requests", "requests", static_cast<int64_t>(trace.requests.size())},
      {"model", "model", model.name},
      {"heads", "heads q/kv", fmt::format("{}/{}", spec.num_heads_q, spec.num_heads_kv)},
      {"chunk", "prefill chunk", int64_t{words.chunk}},
      {"max_batch", "largest batch allowed", int64_t{words.max_batch}}};
  report.columns = {{"threads", "threads", ""},
                    {"attention", "attention", ""},
                    {"batches", "batches", ""},
                    {"steps", "steps", ""},
                    {"sequences", "sequences", "median", 0},
                    {"items", "items", "median", 0},
                    {"pieces", "pieces", "median", 0},
                    {"units", "units", "median", 0},
                    {"balance_median", "balance", "median", 3},
                    {"balance_p99", "balance", "p99", 3},
                    {"balance_max", "balance", "max", 3},
                    {"cut_percent", "cut", "%, median", 2},
                    {"merge_percent", "merge", "%, median", 2},
                    {"plan_us", "plan", "us, median", 1},
                    {"plan_trusted_us", "plan, trusted", "us, median", 1}};
  for (const Group& group : groups) {
    const Samples& s = group.samples;
    const bool any = !s.balance.empty();
    const auto at = [&](const std::vector<double>& samples, double percent) -> Value {
      return any ? Value(percentile(samples, percent)) : Value();
    };
    report.rows.push_back({int64_t{group.threads}, group.kind->name, group.batches,
                           static_cast<int64_t>(s.balance.size()), at(s.batch, 50.0),
                           at(s.items, 50.0), at(s.pieces, 50.0), at(s.units, 50.0),
                           at(s.balance, 50.0), at(s.balance, 99.0), at(s.balance, 100.0),
                           at(s.cut_percent, 50.0), at(s.merge_percent, 50.0), at(s.plan_us, 50.0),
                           at(s.trusted_us, 50.0)});
  }
  report.notes = {
      "balance: largest over mean cost of a thread, threads being as fast as the cost model says",
      "cut, merge: of the cost, what reading keys again for pieces of a tile's rows adds, and "
      "merges",
      fmt::format("pieces: splits of tiles x KV heads; many: at least {}", kManyPieces)};
  return report;
}

int run_simulate(const SimulateWords& words, CommandIo& io) {
  const std::vector<int64_t> threads = parse_value_list("--threads", words.threads, {.max = 4096});
  const Model model =
      words.shape.heads.empty() ? find_model(words.model) : custom_model(words.shape);
  const Trace trace = read_words(words);
  TraceSimulation simulation(trace, model, words, threads);
  ReportOutput output(words.output, io.out);  // after all that may be refused: it empties the file
  simulation.run(io.stop);
  output.write(make_report(trace, model, words, simulation.groups()));
  if (!io.stop.stop_requested()) return kExitOk;
  io.err << "attnrt-perf: interrupted; the figures are of the steps before\n";
  return kExitInterrupted;
}

void add_options(CLI::App& app, SimulateWords& words) {
  app.add_option("--threads", words.threads, "threads to simulate [128]")->type_name("LIST");
  app.add_option("--trace", words.trace,
                 "Azure CSV, Mooncake JSONL or Vidur CSV, told apart by content [a synthetic one]")
      ->type_name("FILE");
  app.add_option("--max-requests", words.max_requests,
                 fmt::format("only the first N requests [{}]", kSyntheticRequests))
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000}));
  app.add_option("--seed", words.seed, "of the synthetic trace [1]")->type_name("N");
  std::string names;
  for (const Model& model : known_models()) names += (names.empty() ? "" : ", ") + model.name;
  CLI::Option* model = app.add_option("--model", words.model, "one of " + names + " [llama-3.1-8b]")
                           ->type_name("NAME");
  CLI::Option* heads =
      app.add_option("--heads", words.shape.heads, "instead of --model: query heads/KV heads")
          ->type_name("32/8")
          ->excludes(model);
  app.add_option("--head-dim", words.shape.head_dim, "columns of q, K and V [128]")->needs(heads);
  app.add_option("--window", words.shape.window, "newest keys that a query sees, 0: all [0]")
      ->needs(heads);
  app.add_option("--page-size", words.page_size, "keys per page [16]")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--chunk", words.chunk, "prompt tokens per step, over all sequences [512]")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--max-batch", words.max_batch, "sequences that run at once [64]")
      ->type_name("N")
      ->check(CLI::Range(1, 65536));
}

}  // namespace

CLI::App* add_simulate_command(CLI::App& app, CommandRun& run) {
  const auto words = std::make_shared<SimulateWords>();
  CLI::App* command = app.add_subcommand(
      "simulate", "Plans batches of a trace and says how evenly they would keep N threads busy");
  command->footer(
      "Example:\n"
      "  attnrt-perf simulate --threads 2,16,128 --trace mooncake_conversation_trace.jsonl");
  add_options(*command, *words);
  add_output_options(*command, words->output);
  run = [words](CommandIo& io) { return run_simulate(*words, io); };
  return command;
}

}  // namespace attnrt::perf
