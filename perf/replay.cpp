// SPDX-License-Identifier: Apache-2.0
// Runs the steps that the scheduler forms: plan once per kind of layer, then append and attend
// once per layer.
#include "perf/replay.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "perf/huge_buffer.hpp"
#include "perf/probe_dispatch.hpp"
#include "perf/progress.hpp"
#include "perf/random.hpp"
#include "perf/replay_limits.hpp"
#include "perf/row_check.hpp"
#include "perf/token_source.hpp"

namespace attnrt::perf {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

TokenSource::Shape token_shape(const ReplayOptions& options) {
  const AttentionSpec& spec = options.model.shape();
  const int64_t largest_step =
      int64_t{options.scheduling.chunk} + int64_t{options.scheduling.max_batch};
  return {options.dtype, int64_t{spec.num_heads_kv} * spec.head_dim,
          int64_t{spec.num_heads_kv} * spec.head_dim_v,
          largest_step * spec.num_heads_q * spec.head_dim};
}

/// Tokens that a trace feeds through attention: the rows of q of one layer.
int64_t total_query_tokens(const Trace& trace) {
  int64_t tokens = 0;
  for (const Request& request : trace.requests) tokens += total_keys(request);
  return tokens;
}

/// K and V of one layer.
struct LayerCache {
  HugeBuffer k, v;
};

class Engine {
 public:
  Engine(const Trace& trace, const ReplayOptions& options, Context& context, CommandIo& io);
  ReplayResult run();

 private:
  bool run_step();
  void touch_new_pages();
  Status plan_step(PhaseSeconds& phases);
  Status run_layer(int32_t layer, PhaseSeconds& phases, AttendWork& work);
  void make_tokens(int32_t layer);
  void book_step(const PhaseSeconds& phases, const AttendWork& work);
  void measure_limits();
  void finish();
  [[nodiscard]] int64_t k_columns() const;
  [[nodiscard]] int64_t v_columns() const;
  [[nodiscard]] KvView cache_view(int32_t layer) const;
  [[nodiscard]] SequenceBatch sequence_batch() const;
  [[nodiscard]] int64_t kv_bytes(const Plan& plan) const;

  const Trace& trace_;
  const ReplayOptions& options_;
  const AttentionSpec& shape_;
  Context& context_;
  CommandIo& io_;
  Scheduler scheduler_;
  TokenSource source_;
  RowCheck check_;
  Progress progress_;
  std::vector<LayerCache> caches_;
  std::vector<Plan> plans_;  // one per kind of layer
  StepBatch step_;
  int64_t step_number_ = 0;
  int32_t touched_pages_ = 0;
  std::vector<Work> calls_;  // of attend
  std::vector<std::byte> new_k_, new_v_;
  HugeBuffer out_;
  std::vector<float> lse_, sinks_, slopes_;
  ReplayResult result_;
};

Engine::Engine(const Trace& trace, const ReplayOptions& options, Context& context, CommandIo& io)
    : trace_(trace),
      options_(options),
      shape_(options.model.shape()),
      context_(context),
      io_(io),
      scheduler_(trace.requests, options.scheduling),
      source_(token_shape(options), options.seed),
      check_(options.check_rows, total_query_tokens(trace) * options.layers, options.seed,
             options.model.v_is_k_prefix),
      progress_(io.err, io.show_progress, total_query_tokens(trace)),
      plans_(options.model.kinds.size()) {
  const int64_t rows = source_.shape().q_elements / shape_.head_dim;  // tokens x query heads
  const int64_t element_bytes = size_of(options.dtype);
  const int64_t keys = int64_t{options.scheduling.num_pages} * options.scheduling.page_size;
  caches_.resize(static_cast<size_t>(options.layers));
  for (LayerCache& cache : caches_) {
    cache.k = HugeBuffer(static_cast<size_t>(keys * k_columns() * element_bytes));
    cache.v = HugeBuffer(static_cast<size_t>(keys * v_columns() * element_bytes));
  }
  out_ = HugeBuffer(static_cast<size_t>(rows * shape_.head_dim_v * element_bytes));
  lse_.resize(static_cast<size_t>(rows));
  Random random(options.seed);
  for (int32_t head = 0; head < shape_.num_heads_q; ++head) {
    if (shape_.has_sinks) sinks_.push_back(static_cast<float>(random.normal()));
    // The slopes of the ALiBi paper: 2^(-8 (h + 1) / heads).
    if (shape_.has_alibi)
      slopes_.push_back(
          std::exp2(-8.0f * static_cast<float>(head + 1) / static_cast<float>(shape_.num_heads_q)));
  }
}

// Elements of a key in the memory of K and in that of V: packed16 has both in one.
int64_t Engine::k_columns() const {
  if (options_.layout != KvLayout::kPacked16) return source_.shape().k_elements;
  return packed16_bytes(options_.dtype, 1, 16, shape_.num_heads_kv, shape_.head_dim,
                        shape_.head_dim_v) /
         16 / size_of(options_.dtype);
}

int64_t Engine::v_columns() const {
  const bool apart = options_.layout != KvLayout::kPacked16 && !options_.model.v_is_k_prefix;
  return apart ? source_.shape().v_elements : 0;
}

KvView Engine::cache_view(int32_t layer) const {
  const LayerCache& cache = caches_[static_cast<size_t>(layer)];
  const SchedulerOptions& scheduling = options_.scheduling;
  if (options_.model.v_is_k_prefix) {
    return KvView::mla(cache.k.data(), options_.dtype, scheduling.num_pages, scheduling.page_size,
                       shape_.head_dim, shape_.head_dim_v);
  }
  if (options_.layout == KvLayout::kPacked16) {
    return KvView::packed16(cache.k.data(), options_.dtype, scheduling.num_pages,
                            scheduling.page_size, shape_.num_heads_kv, shape_.head_dim,
                            shape_.head_dim_v);
  }
  return KvView::paged(cache.k.data(), cache.v.data(), options_.dtype, options_.layout,
                       scheduling.num_pages, scheduling.page_size, shape_.num_heads_kv,
                       shape_.head_dim, shape_.head_dim_v);
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
  new_k_.resize(static_cast<size_t>(step_.total_q()) * k_bytes);
  new_v_.resize(static_cast<size_t>(step_.total_q()) * v_bytes);
  size_t token = 0;
  for (size_t b = 0; b < step_.requests.size(); ++b) {
    for (int32_t at = step_.cache_seqlens[b]; at < step_.seqused_k[b]; ++at, ++token) {
      std::memcpy(&new_k_[token * k_bytes], source_.k_row(layer, step_.requests[b], at), k_bytes);
      if (options_.model.v_is_k_prefix) continue;
      std::memcpy(&new_v_[token * v_bytes], source_.v_row(layer, step_.requests[b], at), v_bytes);
    }
  }
}

Status Engine::run_layer(int32_t layer, PhaseSeconds& phases, AttendWork& work) {
  make_tokens(layer);
  const int64_t tokens = step_.total_q();
  const void* q = source_.q(layer, step_number_);
  AppendArgs append;
  append.k = dense_tensor(static_cast<const void*>(new_k_.data()), options_.dtype, tokens,
                          shape_.num_heads_kv, shape_.head_dim);
  append.v = dense_tensor(static_cast<const void*>(new_v_.data()), options_.dtype, tokens,
                          shape_.num_heads_kv, shape_.head_dim_v);
  append.kv = cache_view(layer);
  append.cu_seqlens_new = step_.cu_seqlens_q;
  append.cache_seqlens = step_.cache_seqlens;
  append.block_table = sequence_batch().block_table;
  AttendArgs attend_args;
  attend_args.q = dense_tensor(q, options_.dtype, tokens, shape_.num_heads_q, shape_.head_dim);
  attend_args.kv = append.kv;
  attend_args.out = dense_tensor(static_cast<void*>(out_.data()), options_.dtype, tokens,
                                 shape_.num_heads_q, shape_.head_dim_v);
  attend_args.lse.data = lse_.data();
  attend_args.alibi_slopes = slopes_;
  attend_args.sinks = sinks_;
  attend_args.stop = io_.stop;
  attend_args.stats = &result_.workers;
  const Plan& plan = plans_[static_cast<size_t>(layer) % plans_.size()];

  Clock::time_point start = Clock::now();
  Status status = append_kv(context_, append);
  phases.append += seconds_since(start);
  if (!status.ok()) return status;
  start = Clock::now();
  status = attend(context_, plan, attend_args);
  const double seconds = seconds_since(start);
  if (!status.ok()) return status;
  phases.attend += seconds;
  // Two operations per multiply-add, for q . k and for p * v.
  const int64_t flops = plan.num_scores() * 2 * (shape_.head_dim + shape_.head_dim_v);
  work += {seconds, kv_bytes(plan), static_cast<double>(flops)};
  calls_.push_back({kv_bytes(plan), flops});

  if (options_.after_attend) options_.after_attend(step_number_, attend_args.out);
  const AttentionSpec& spec = options_.model.kind_of(layer).spec;
  const bool cpu = context_.backend() == "cpu";
  const bool dot =
      cpu && products_of(context_.isa(), spec.arithmetic, options_.dtype) == Products::kBf16Dot;
  check_.check({spec, step_, step_number_, layer, attend_args.out, lse_.data(), sinks_, slopes_,
                dot ? reference::Weights::kBFloat16 : reference::Weights::kFloat32},
               source_);
  return {};
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

/// An engine touches its cache when it starts. This one does it when a page is used for the first
/// time, outside of every measurement, so that a large cache costs nothing until it is needed.
void Engine::touch_new_pages() {
  const int32_t peak = scheduler_.pages().peak();
  const int64_t page_bytes = options_.scheduling.page_size * size_of(options_.dtype);
  for (const LayerCache& cache : caches_) {
    const auto touch = [&](const HugeBuffer& buffer, int64_t elements) {
      const int64_t stride = page_bytes * elements;
      std::memset(buffer.data() + touched_pages_ * stride, 0,
                  static_cast<size_t>((peak - touched_pages_) * stride));
    };
    touch(cache.k, k_columns());
    if (v_columns() > 0) touch(cache.v, v_columns());
  }
  touched_pages_ = peak;
}

/// False when the run is over: interrupted, or the library failed.
bool Engine::run_step() {
  PhaseSeconds phases;
  AttendWork work;
  Clock::time_point start = Clock::now();
  scheduler_.begin_step(step_);
  phases.schedule = seconds_since(start);
  touch_new_pages();
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
  if (calls_.empty() || context_.backend() != "cpu") return;
  const int64_t bytes = int64_t{touched_pages_} * options_.scheduling.page_size * k_columns() *
                        size_of(options_.dtype);
  const Products products = products_of(context_.isa(), shape_.arithmetic, options_.dtype);
  const MultiplyLoop& loop = multiply_loop(context_.isa(), products);
  result_.rates = measure_rates({caches_.front().k.data(), static_cast<size_t>(bytes)},
                                context_.num_threads(), loop);
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
  for (const LayerCache& cache : caches_) {
    for (const HugeBuffer* buffer : {&cache.k, &cache.v}) {
      const int64_t bytes = buffer->huge_bytes();
      result_.huge_bytes = bytes < 0 || result_.huge_bytes < 0 ? -1 : result_.huge_bytes + bytes;
    }
  }
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
                    CommandIo& io) {
  if (options.model.v_is_k_prefix && options.layout != KvLayout::kNHD) {
    throw BadInput(fmt::format("--layout is '{}'; model {} keeps one row per key: nhd only",
                               to_string(options.layout), options.model.name));
  }
  if (options.layout == KvLayout::kPacked16 && options.scheduling.page_size % 16 != 0) {
    throw BadInput(fmt::format("--page-size is {}; packed16 pages hold a multiple of 16 keys",
                               options.scheduling.page_size));
  }
  return Engine(trace, options, context, io).run();
}

}  // namespace attnrt::perf
