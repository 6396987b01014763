// SPDX-License-Identifier: Apache-2.0
// Runs the steps that the scheduler forms: plan once per kind of layer, then append and attend
// once per layer.
#include "perf/replay.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "perf/cuda_device.hpp"
#include "perf/products.hpp"
#include "perf/progress.hpp"
#include "perf/random.hpp"
#include "perf/replay_limits.hpp"
#include "perf/replay_memory.hpp"
#include "perf/row_check.hpp"
#include "perf/token_source.hpp"

namespace attnrt::perf {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Tokens.
int64_t largest_step(const ReplayOptions& options) {
  return int64_t{options.scheduling.chunk} + int64_t{options.scheduling.max_batch};
}

// Of a tensor with a row for every token of a step.
size_t step_bytes(const ReplayOptions& options, int64_t heads, int64_t dim) {
  return static_cast<size_t>(largest_step(options) * heads * dim * size_of(options.dtype));
}

std::vector<float> make_sinks(const ReplayOptions& options) {
  const AttentionSpec& spec = options.model.shape();
  std::vector<float> sinks(static_cast<size_t>(spec.has_sinks ? spec.num_heads_q : 0));
  Random random(options.seed);
  for (float& sink : sinks) sink = static_cast<float>(random.normal());
  return sinks;
}

// Those of the ALiBi paper: 2^(-8 (h + 1) / heads).
std::vector<float> make_slopes(const AttentionSpec& spec) {
  std::vector<float> slopes(static_cast<size_t>(spec.has_alibi ? spec.num_heads_q : 0));
  for (size_t head = 0; head < slopes.size(); ++head) {
    slopes[head] =
        std::exp2(-8.0f * static_cast<float>(head + 1) / static_cast<float>(spec.num_heads_q));
  }
  return slopes;
}

TokenSource::Shape token_shape(const ReplayOptions& options) {
  const AttentionSpec& spec = options.model.shape();
  return {options.dtype, int64_t{spec.num_heads_kv} * spec.head_dim,
          int64_t{spec.num_heads_kv} * spec.head_dim_v,
          largest_step(options) * spec.num_heads_q * spec.head_dim};
}

/// Tokens that a trace feeds through attention: the rows of q of one layer.
int64_t total_query_tokens(const Trace& trace) {
  int64_t tokens = 0;
  for (const Request& request : trace.requests) tokens += total_keys(request);
  return tokens;
}

class Engine {
 public:
  Engine(const Trace& trace, const ReplayOptions& options, Context& context, MeasuredDevice& device,
         CommandIo& io);
  ReplayResult run();

 private:
  bool run_step();
  Status plan_step(PhaseSeconds& phases);
  Status run_layer(int32_t layer, PhaseSeconds& phases, AttendWork& work);
  void make_tokens(int32_t layer);
  [[nodiscard]] const void* step_q(int32_t layer);
  void check_layer(int32_t layer, const AttendArgs& args);
  void book_step(const PhaseSeconds& phases, const AttendWork& work);
  void measure_limits();
  void finish();
  [[nodiscard]] SequenceBatch sequence_batch() const;
  [[nodiscard]] int64_t kv_bytes(const Plan& plan) const;

  const Trace& trace_;
  const ReplayOptions& options_;
  const AttentionSpec& shape_;
  Context& context_;
  MeasuredDevice& device_;
  CommandIo& io_;
  Scheduler scheduler_;
  TokenSource source_;
  RowCheck check_;
  Progress progress_;
  ReplayCaches caches_;
  std::vector<Plan> plans_;  // one per kind of layer
  StepBatch step_;
  int64_t step_number_ = 0;
  std::vector<Work> calls_;  // of attend
  SharedBuffer new_k_, new_v_, out_, lse_;
  DeviceBuffer q_;  // unused on the host: the source's rows serve
  SharedFloats sinks_, slopes_;
  ReplayResult result_;
};

Engine::Engine(const Trace& trace, const ReplayOptions& options, Context& context,
               MeasuredDevice& device, CommandIo& io)
    : trace_(trace),
      options_(options),
      shape_(options.model.shape()),
      context_(context),
      device_(device),
      io_(io),
      scheduler_(trace.requests, options.scheduling),
      source_(token_shape(options), options.seed),
      check_(options.check_rows, total_query_tokens(trace) * options.layers, options.seed,
             options.model.v_is_k_prefix),
      progress_(io.err, io.show_progress, total_query_tokens(trace)),
      caches_(options, device),
      plans_(options.model.kinds.size()),
      new_k_(device, step_bytes(options, shape_.num_heads_kv, shape_.head_dim)),
      new_v_(device, step_bytes(options, shape_.num_heads_kv, shape_.head_dim_v)),
      out_(device, step_bytes(options, shape_.num_heads_q, shape_.head_dim_v)),
      lse_(device, static_cast<size_t>(largest_step(options) * shape_.num_heads_q) * sizeof(float)),
      sinks_(device, make_sinks(options)),
      slopes_(device, make_slopes(shape_)) {
  if (device.host_memory()) return;
  q_ = DeviceBuffer(device, step_bytes(options, shape_.num_heads_q, shape_.head_dim));
}
SequenceBatch Engine::sequence_batch() const {
  SequenceBatch batch;
  batch.cu_seqlens_q = step_.cu_seqlens_q;
  batch.seqused_k = step_.seqused_k;
  batch.block_table =
      BlockTable::dense(step_.block_table, step_.max_pages, options_.scheduling.page_size);
  return batch;
}

/// The library counts K and V apart; in an MLA cache V is part of K.
int64_t Engine::kv_bytes(const Plan& plan) const {
  const int64_t bytes = plan.kv_bytes(options_.dtype);
  if (!options_.model.v_is_k_prefix) return bytes;
  return bytes / (shape_.head_dim + shape_.head_dim_v) * shape_.head_dim;
}

Status Engine::plan_step(PhaseSeconds& phases) {
  const Clock::time_point start = Clock::now();
  const SequenceBatch batch = sequence_batch();
  for (size_t kind = 0; kind < plans_.size() && std::cmp_less(kind, options_.layers); ++kind) {
    Status status = make_plan(options_.model.kinds[kind].spec, batch, plans_[kind]);
    if (status.ok()) status = context_.reserve(plans_[kind]);
    if (!status.ok()) return status;
    result_.largest_partial_bytes =
        std::max(result_.largest_partial_bytes, plans_[kind].partial_bytes());
  }
  phases.plan = seconds_since(start);
  return {};
}

/// Stands for the projections of a model, so it is not part of any time.
void Engine::make_tokens(int32_t layer) {
  const auto element_bytes = static_cast<size_t>(size_of(options_.dtype));
  const size_t k_bytes = static_cast<size_t>(source_.shape().k_elements) * element_bytes;
  const size_t v_bytes = static_cast<size_t>(source_.shape().v_elements) * element_bytes;
  size_t token = 0;
  for (size_t b = 0; b < step_.requests.size(); ++b) {
    for (int32_t at = step_.cache_seqlens[b]; at < step_.seqused_k[b]; ++at, ++token) {
      std::memcpy(new_k_.host() + token * k_bytes, source_.k_row(layer, step_.requests[b], at),
                  k_bytes);
      if (options_.model.v_is_k_prefix) continue;
      std::memcpy(new_v_.host() + token * v_bytes, source_.v_row(layer, step_.requests[b], at),
                  v_bytes);
    }
  }
  new_k_.to_device(token * k_bytes);
  if (!options_.model.v_is_k_prefix) new_v_.to_device(token * v_bytes);
}

const void* Engine::step_q(int32_t layer) {
  const std::byte* const q = source_.q(layer, step_number_);
  if (device_.host_memory()) return q;
  const int64_t elements = int64_t{step_.total_q()} * shape_.num_heads_q * shape_.head_dim;
  device_.copy_in(q_.data(), q, static_cast<size_t>(elements * size_of(options_.dtype)));
  return q_.data();
}

Status Engine::run_layer(int32_t layer, PhaseSeconds& phases, AttendWork& work) {
  make_tokens(layer);
  const int64_t tokens = step_.total_q();
  const void* q = step_q(layer);
  AppendArgs append;
  append.k = dense_tensor(static_cast<const void*>(new_k_.data()), options_.dtype, tokens,
                          shape_.num_heads_kv, shape_.head_dim);
  append.v = dense_tensor(static_cast<const void*>(new_v_.data()), options_.dtype, tokens,
                          shape_.num_heads_kv, shape_.head_dim_v);
  append.kv = caches_.view(layer);
  append.k.device = append.v.device = device_.device();
  append.cu_seqlens_new = step_.cu_seqlens_q;
  append.cache_seqlens = step_.cache_seqlens;
  append.block_table = sequence_batch().block_table;
  AttendArgs attend_args;
  attend_args.q = dense_tensor(q, options_.dtype, tokens, shape_.num_heads_q, shape_.head_dim);
  attend_args.kv = append.kv;
  attend_args.out = dense_tensor(static_cast<void*>(out_.data()), options_.dtype, tokens,
                                 shape_.num_heads_q, shape_.head_dim_v);
  attend_args.q.device = attend_args.out.device = device_.device();
  attend_args.lse.data = reinterpret_cast<float*>(lse_.data());
  attend_args.alibi_slopes = slopes_.data();
  attend_args.sinks = sinks_.data();
  attend_args.stop = io_.stop;
  attend_args.stats = &result_.workers;
  const Plan& plan = plans_[static_cast<size_t>(layer) % plans_.size()];

  if (options_.before_calls) options_.before_calls(append, attend_args);
  Status status;
  phases.append += device_.timed([&] { status = append_kv(context_, append); });
  if (!status.ok()) return status;
  const double seconds = device_.timed([&] { status = attend(context_, plan, attend_args); });
  if (!status.ok()) return status;
  phases.attend += seconds;
  // Two operations per multiply-add, for q . k and for p * v.
  const int64_t flops = plan.num_scores() * 2 * (shape_.head_dim + shape_.head_dim_v);
  work += {seconds, kv_bytes(plan), static_cast<double>(flops)};
  calls_.push_back({kv_bytes(plan), flops});

  check_layer(layer, attend_args);
  return {};
}

void Engine::check_layer(int32_t layer, const AttendArgs& args) {
  TensorView out = args.out;
  out.data = out_.host();
  out.device = Device::kCpu;
  if (options_.check_rows > 0 || options_.after_attend) {
    const int64_t rows = out.shape[0] * out.shape[1];
    out_.to_host(static_cast<size_t>(rows * out.shape[2] * size_of(out.dtype)));
    lse_.to_host(static_cast<size_t>(rows) * sizeof(float));
  }
  if (options_.after_attend) options_.after_attend(step_number_, out);
  const AttentionSpec& spec = options_.model.kind_of(layer).spec;
  const std::string_view backend = context_.backend();
  // The CUDA backend rounds weights to 16 bits, always.
  const bool rounds = backend == kCudaBackend ||
                      (backend == "cpu" && products_of(context_.isa(), spec.arithmetic,
                                                       options_.dtype) == Products::kBf16Dot);
  check_.check(
      {spec, step_, step_number_, layer, out, reinterpret_cast<float*>(lse_.host()), sinks_.host(),
       slopes_.host(), rounds ? reference::Weights::kBFloat16 : reference::Weights::kFloat32},
      source_);
}

void Engine::book_step(const PhaseSeconds& phases, const AttendWork& work) {
  result_.step_seconds.push_back(phases.total());
  result_.phases.schedule += phases.schedule;
  result_.phases.plan += phases.plan;
  result_.phases.append += phases.append;
  result_.phases.attend += phases.attend;
  (step_.prompt_tokens > 0 ? result_.prefill_steps : result_.decode_steps) += work;
  result_.prompt_tokens += step_.prompt_tokens;
  result_.output_tokens += step_.output_tokens;
  result_.query_tokens += step_.total_q();
  result_.batch_sum += step_.size();
  result_.largest_batch = std::max(result_.largest_batch, step_.size());
  const PaddedCost cost = padded_cost(step_);
  result_.padding.tokens += cost.tokens;
  result_.padding.padded_tokens += cost.padded_tokens;
  result_.padding.keys += cost.keys;
  result_.padding.padded_keys += cost.padded_keys;
  result_.padding.pairs += cost.pairs;
  result_.padding.padded_pairs += cost.padded_pairs;
}

/// False when the run is over: interrupted, or the library failed.
bool Engine::run_step() {
  PhaseSeconds phases;
  AttendWork work;
  Clock::time_point start = Clock::now();
  scheduler_.begin_step(step_);
  phases.schedule = seconds_since(start);
  caches_.touch_pages(scheduler_.pages().peak());
  Status status = plan_step(phases);
  for (int32_t layer = 0; status.ok() && layer < options_.layers; ++layer) {
    if (io_.stop.stop_requested()) return false;
    status = run_layer(layer, phases, work);
  }
  if (!status.ok()) {
    if (status.code() != Code::kCancelled) {
      result_.error =
          fmt::format("step {}: {}: {}", step_number_, to_string(status.code()), status.message());
    }
    return false;
  }
  start = Clock::now();
  scheduler_.end_step(step_, phases.total());
  phases.schedule += seconds_since(start);
  book_step(phases, work);
  ++step_number_;
  return true;
}

/// Reads the first layer's K where it lies, so the probe meets the pages that attention met.
void Engine::measure_limits() {
  if (calls_.empty() || context_.backend() == "reference") return;
  result_.rates = measure_rates(device_, caches_.touched(), context_, options_.dtype);
  if (result_.rates.read_bytes_per_second == 0.0) return;
  result_.limit_seconds = limit_seconds(calls_, result_.rates);
}

void Engine::finish() {
  const PageAllocator& pages = scheduler_.pages();
  result_.interrupted = io_.stop.stop_requested() && !scheduler_.done();
  scheduler_.release_all();
  result_.requests_finished = scheduler_.finished();
  result_.num_pages = pages.num_pages();
  result_.peak_pages = pages.peak();
  result_.pages_in_use = pages.used();
  result_.cache_bytes = int64_t{pages.peak()} * options_.scheduling.page_size *
                        options_.model.token_bytes(options_.dtype) * options_.layers;
  result_.huge_bytes = caches_.huge_bytes();
  result_.rows_checked = check_.checked();
  result_.rows_failed = check_.failed();
  result_.worst_out = check_.worst_out();
  result_.worst_lse = check_.worst_lse();
  result_.check_failure = check_.first_failure();
}

ReplayResult Engine::run() {
  while (!scheduler_.done() && !io_.stop.stop_requested()) {
    if (!run_step()) break;
    progress_.update(result_.query_tokens,
                     fmt::format("{} of {} requests, {} running", scheduler_.finished(),
                                 trace_.requests.size(), step_.size()));
  }
  progress_.finish();
  finish();
  // Somebody who pressed Ctrl-C does not want to wait for probes.
  if (!result_.interrupted) measure_limits();
  return result_;
}

}  // namespace

ReplayResult replay(const Trace& trace, const ReplayOptions& options, Context& context,
                    MeasuredDevice& device, CommandIo& io) {
  if (options.model.v_is_k_prefix && options.layout != KvLayout::kNHD) {
    throw BadInput(fmt::format("--layout is '{}'; model {} keeps one row per key: nhd only",
                               to_string(options.layout), options.model.name));
  }
  if (options.layout == KvLayout::kPacked16 && options.scheduling.page_size % 16 != 0) {
    throw BadInput(fmt::format("--page-size is {}; packed16 pages hold a multiple of 16 keys",
                               options.scheduling.page_size));
  }
  return Engine(trace, options, context, device, io).run();
}

}  // namespace attnrt::perf
