// SPDX-License-Identifier: Apache-2.0
// The options of `replay`, their checks, and what its exit code says.
#include "perf/replay_command.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "perf/cuda_device.hpp"
#include "perf/environment.hpp"
#include "perf/models.hpp"
#include "perf/parse.hpp"
#include "perf/replay.hpp"
#include "perf/replay_report.hpp"
#include "perf/report.hpp"
#include "perf/traces.hpp"

namespace attnrt::perf {
namespace {

constexpr double kGibi = 1024.0 * 1024.0 * 1024.0;
constexpr double kDefaultCacheGib = 4.0;
constexpr int64_t kMaxSyntheticRequests = 1'000'000;

/// The words of the command line, before they are checked against each other.
struct ReplayWords {
  std::string trace;
  int64_t max_requests = 0;  // 0: all, or kSyntheticRequests
  uint64_t seed = 1;
  double time_scale = 0.0;
  std::string model = "llama-3.1-8b";
  ShapeNumbers shape;
  std::string window = "none";
  int32_t layers = 0;  // 0: one of each kind
  std::string dtype = "bf16";
  std::string layout = "nhd";
  int32_t page_size = 16;
  int64_t kv_pages = 0;
  double kv_gib = 0.0;
  int32_t chunk = 512;
  int32_t max_batch = 64;
  std::string backend;
  std::string isa;
  int32_t threads = 0;
  int64_t check = 0;
  OutputOptions output;
};

void add_workload_options(CLI::App& app, ReplayWords& words) {
  const std::string group = "Workload";
  app.add_option("--trace", words.trace,
                 "Azure CSV, Mooncake JSONL or Vidur CSV, told apart by content [a synthetic "
                 "workload of 128 requests]")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--max-requests", words.max_requests, "only the first N requests [all]")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->group(group);
  app.add_option("--time-scale", words.time_scale,
                 "0: every request waits from the start, so that the same trace gives the same "
                 "steps on any machine. X > 0: requests arrive X times as fast as in the trace, on "
                 "a clock that runs only while steps run [0]")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1e12))
      ->group(group);
  app.add_option("--seed", words.seed, "of lengths, values and sampled rows [1]")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber)  // CLI11 2.1 takes -1 for 2^64 - 1
      ->group(group);
}

void add_model_options(CLI::App& app, ReplayWords& words) {
  const std::string group = "Model";
  std::string names;
  for (const Model& model : known_models()) names += (names.empty() ? "" : ", ") + model.name;
  CLI::Option* model = app.add_option("--model", words.model, "one of " + names + " [llama-3.1-8b]")
                           ->type_name("NAME")
                           ->group(group);
  CLI::Option* heads =
      app.add_option("--heads", words.shape.heads, "instead of --model: query heads/KV heads")
          ->type_name("32/8")
          ->excludes(model)
          ->group(group);
  const auto number = [&](const char* name, auto& value, const char* help) {
    app.add_option(name, value, help)->needs(heads)->group(group);
  };
  number("--head-dim", words.shape.head_dim, "columns of q and K [128]");
  number("--head-dim-v", words.shape.head_dim_v, "columns of V and of the output [--head-dim]");
  number("--window", words.window,
         "newest keys that a query sees, its own included; none: all [none]");
  number("--softcap", words.shape.softcap, "scores become softcap * tanh(score / softcap) [none]");
  const auto flag = [&](const char* name, bool& value, const char* help) {
    app.add_flag(name, value, help)->needs(heads)->group(group);
  };
  flag("--alibi", words.shape.alibi, "ALiBi slopes");
  flag("--sinks", words.shape.sinks, "an attention sink per query head");
  flag("--mla", words.shape.mla, "V is the first --head-dim-v columns of K, stored once");
  app.add_option("--layers", words.layers,
                 "layers per step, each with a cache of its own [one of each kind of the model]")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->group(group);
}

void add_engine_options(CLI::App& app, ReplayWords& words) {
  const std::string group = "Engine";
  app.add_option("--dtype", words.dtype, "f32, bf16 or f16, of q, K, V and the output [bf16]")
      ->type_name("NAME")
      ->group(group);
  app.add_option("--layout", words.layout, "nhd, hnd or packed16 pages [nhd]")
      ->type_name("NAME")
      ->group(group);
  app.add_option("--page-size", words.page_size, "keys per page [16]")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20))
      ->group(group);
  CLI::Option* pages = app.add_option("--kv-pages", words.kv_pages, "pages per layer")
                           ->type_name("N")
                           ->check(CLI::Range(int64_t{1}, int64_t{1} << 27))
                           ->group(group);
  app.add_option("--kv-gib", words.kv_gib,
                 "memory for the caches of all layers [4, at most half of what is available]")
      ->type_name("X")
      ->check(CLI::Range(1e-6, 1e6))
      ->excludes(pages)
      ->group(group);
  app.add_option("--chunk", words.chunk, "prompt tokens per step, over all sequences [512]")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20))
      ->group(group);
  app.add_option("--max-batch", words.max_batch, "sequences that run at once [64]")
      ->type_name("N")
      ->check(CLI::Range(1, 65536))
      ->group(group);
  app.add_option("--threads", words.threads, "threads of attention [all cores]")
      ->type_name("N")
      ->check(CLI::Range(1, 4096))
      ->group(group);
  app.add_option("--isa", words.isa, "baseline, avx2 or avx512 [ATTNRT_ISA, else the best here]")
      ->type_name("NAME")
      ->group(group);
  app.add_option("--backend", words.backend, "cpu, reference or cuda [cpu]")
      ->type_name("NAME")
      ->group(group);
}

/// Pages that can be in use at once: the whole need of the longest sequences that fit in a batch.
int64_t most_useful_pages(const Trace& trace, const ReplayWords& words) {
  std::vector<int64_t> needs;
  for (const Request& request : trace.requests) {
    needs.push_back(pages_for(total_keys(request), words.page_size));
  }
  std::sort(needs.begin(), needs.end(), std::greater<>());
  const size_t batch = std::min(needs.size(), static_cast<size_t>(words.max_batch));
  return std::accumulate(needs.begin(), needs.begin() + static_cast<std::ptrdiff_t>(batch),
                         int64_t{0});
}

int32_t choose_pages(const Trace& trace, const ReplayWords& words, const ReplayOptions& options,
                     int64_t free_bytes) {
  if (words.kv_pages != 0) return static_cast<int32_t>(words.kv_pages);
  const auto available = static_cast<double>(free_bytes);
  double budget = words.kv_gib * kGibi;
  if (words.kv_gib == 0.0) {
    budget = kDefaultCacheGib * kGibi;
    if (available > 0.0) budget = std::min(budget, available / 2.0);
  }
  const auto page_bytes = static_cast<double>(options.model.token_bytes(options.dtype)) *
                          words.page_size * options.layers;
  const double affordable = std::floor(std::min(budget / page_bytes, 0x1p27));
  if (affordable < 1.0) {
    throw BadInput(
        fmt::format("a page of {} keys takes {:.0f} bytes in {} layers, more than the "
                    "{:.0f} bytes of --kv-gib",
                    words.page_size, page_bytes, options.layers, budget));
  }
  return static_cast<int32_t>(
      std::min(static_cast<int64_t>(affordable), most_useful_pages(trace, words)));
}

/// q and out of the largest step; a typing error in --chunk must not bring the machine down.
void check_step_memory(const ReplayOptions& options, int64_t free_bytes) {
  const AttentionSpec& spec = options.model.shape();
  const double rows =
      (static_cast<double>(options.scheduling.chunk) + options.scheduling.max_batch) *
      spec.num_heads_q;
  const double bytes = rows * (static_cast<double>(spec.head_dim) + spec.head_dim_v + 2.0) *
                       static_cast<double>(size_of(options.dtype));
  const auto available = static_cast<double>(free_bytes);
  if (available == 0.0 || bytes < available / 4.0) return;
  throw BadInput(fmt::format(
      "q and the output of a step take {:.1f} GiB, of {:.1f} GiB available: lower --chunk or "
      "--max-batch",
      bytes / kGibi, available / kGibi));
}

Model parse_model(const ReplayWords& words) {
  ShapeNumbers shape = words.shape;
  shape.window = words.window == "none" ? 0 : parse_count("--window", words.window);
  return shape.heads.empty() ? find_model(words.model) : custom_model(shape);
}

/// What any GPU would refuse, before one is looked for.
void refuse_for_cuda(const ReplayWords& words) {
  if (words.threads != 0) throw BadInput("--threads is of the CPU, --backend cuda has none");
  if (!words.isa.empty()) throw BadInput("--isa is of the CPU, --backend cuda has none");
  const Model model = parse_model(words);
  const AttentionSpec& spec = model.shape();
  const std::string lacks =
      cuda_lacks({parse_dtype("--dtype", words.dtype), parse_layout("--layout", words.layout),
                  spec.head_dim, spec.head_dim_v, model.v_is_k_prefix});
  if (!lacks.empty()) throw BadInput(lacks);
}

ReplayOptions make_options(const ReplayWords& words, const Trace& trace, int64_t free_bytes) {
  ReplayOptions options;
  options.model = parse_model(words);
  options.layers =
      words.layers != 0 ? words.layers : static_cast<int32_t>(options.model.kinds.size());
  options.dtype = parse_dtype("--dtype", words.dtype);
  options.layout = parse_layout("--layout", words.layout);
  if (options.layout == KvLayout::kPacked) {
    throw BadInput("--layout is 'packed'; a serving cache has pages: nhd, hnd or packed16");
  }
  options.seed = words.seed;
  options.check_rows = words.check;
  SchedulerOptions& scheduling = options.scheduling;
  scheduling.page_size = words.page_size;
  scheduling.chunk = words.chunk;
  const auto requests = static_cast<int64_t>(trace.requests.size());
  scheduling.max_batch = static_cast<int32_t>(std::min<int64_t>(words.max_batch, requests));
  scheduling.time_scale = words.time_scale;
  check_step_memory(options, free_bytes);
  scheduling.num_pages = choose_pages(trace, words, options, free_bytes);
  return options;
}

Context make_context(const ReplayWords& words) {
  ContextOptions options;
  options.backend = words.backend;
  options.isa = words.isa;
  options.num_threads = words.threads;
  Context context;
  const Status status = Context::create(options, context);
  if (!status.ok()) throw BadInput(status.message());
  return context;
}

Trace make_trace(const ReplayWords& words) {
  if (words.trace.empty()) {
    const int64_t requests = words.max_requests != 0 ? words.max_requests : kSyntheticRequests;
    if (requests > kMaxSyntheticRequests) {
      throw BadInput(fmt::format("--max-requests is {}; the synthetic workload has at most {}",
                                 requests, kMaxSyntheticRequests));
    }
    return synthetic_trace(words.seed, requests);
  }
  return read_trace(words.trace, words.max_requests != 0 ? words.max_requests : INT64_MAX);
}

/// What went wrong, on stderr, and the exit code.
int judge(const ReplayOptions& options, const ReplayResult& result, int64_t requests,
          CommandIo& io) {
  int code = kExitOk;
  if (result.interrupted) {
    io.err << fmt::format(
        "attnrt-perf: interrupted after {} of {} requests; the figures are of what was done\n",
        result.requests_finished, requests);
    code = kExitInterrupted;
  }
  const auto fail = [&](const std::string& message) {
    io.err << "attnrt-perf: " << message << '\n';
    code = kExitFailed;
  };
  if (!result.error.empty()) fail("the library failed in " + result.error);
  if (result.pages_in_use != 0) {
    fail(fmt::format("{} pages are still in use at the end", result.pages_in_use));
  }
  if (result.rows_failed > 0) {
    fail(fmt::format("{} of {} rows differ from the reference by more than their bound; first: {}",
                     result.rows_failed, result.rows_checked, result.check_failure));
  }
  if (options.check_rows > 0 && result.rows_checked == 0 && !result.interrupted) {
    fail("--check: no row was compared with the reference");
  }
  return code;
}

// CLI11's ranges let NaN through.
void check_finite(std::string_view option, double value) {
  if (!std::isfinite(value)) throw BadInput(fmt::format("{} is {}", option, value));
}

int run_replay(const ReplayWords& words, CommandIo& io) {
  check_finite("--time-scale", words.time_scale);
  check_finite("--kv-gib", words.kv_gib);
  const bool cuda = words.backend == kCudaBackend;
  if (cuda) refuse_for_cuda(words);
  const std::unique_ptr<MeasuredDevice> device = open_device(words.backend);
  Context context = make_context(words);
  const Trace trace = make_trace(words);
  const ReplayOptions options = make_options(words, trace, device->free_bytes());
  ReportOutput output(words.output, io.out);  // after all that may be refused: it empties the file
  const ReplayResult result = replay(trace, options, context, *device, io);
  Report report = replay_report(trace, options, result);
  report.environment = read_environment(context);
  if (cuda) report.environment.push_back({"device", "device", device->name()});
  output.write(report);
  return judge(options, result, static_cast<int64_t>(trace.requests.size()), io);
}

}  // namespace

CLI::App* add_replay_command(CLI::App& app, CommandRun& run) {
  const auto words = std::make_shared<ReplayWords>();
  CLI::App* command = app.add_subcommand(
      "replay", "Runs serving traffic through continuous batching over a paged cache");
  command->footer(
      "Examples:\n"
      "  attnrt-perf replay --trace AzureLLMInferenceTrace_conv.csv --max-requests 200 --check 64\n"
      "  attnrt-perf replay --model gpt-oss-20b --layers 4 --format json --output replay.json\n"
      "  attnrt-perf replay --heads 32/4 --head-dim 96 --window 1024 --page-size 64");
  add_workload_options(*command, *words);
  add_model_options(*command, *words);
  add_engine_options(*command, *words);
  command
      ->add_option("--check", words->check,
                   "compare N rows, drawn over the whole run, with the reference; exit code 1 "
                   "beyond the bound")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  add_output_options(*command, words->output);
  run = [words](CommandIo& io) { return run_replay(*words, io); };
  return command;
}

}  // namespace attnrt::perf
