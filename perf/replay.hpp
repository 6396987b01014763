// SPDX-License-Identifier: Apache-2.0
// The engine loop: a trace through the scheduler, the paged cache and the library, timed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "attnrt/attention.hpp"
#include "perf/cli.hpp"
#include "perf/limits.hpp"
#include "perf/measured_device.hpp"
#include "perf/models.hpp"
#include "perf/scheduler.hpp"
#include "perf/traces.hpp"

namespace attnrt::perf {

struct ReplayOptions {
  Model model;
  int32_t layers = 1;  // each with a cache of its own
  DType dtype = DType::kBF16;
  KvLayout layout = KvLayout::kNHD;
  SchedulerOptions scheduling;
  uint64_t seed = 1;
  int64_t check_rows = 0;

  /// Called with what every layer's calls are given. For tests.
  std::function<void(const AppendArgs& append, const AttendArgs& attend)> before_calls;

  /// Called with every layer's output before it is checked. For tests: may spoil it, may ask the
  /// command to stop.
  std::function<void(int64_t step, const TensorView& out)> after_attend;
};

/// Seconds, over all steps that were completed.
struct PhaseSeconds {
  double schedule = 0.0;  // the tool's own loop: admission, pages, block table
  double plan = 0.0;
  double append = 0.0;
  double attend = 0.0;  // merging included
  [[nodiscard]] double total() const noexcept { return schedule + plan + append + attend; }
};

/// What kind of step moves which bytes: steps without prompt tokens are bound by memory, the
/// others by arithmetic. All layers together.
struct AttendWork {
  double seconds = 0.0;
  int64_t kv_bytes = 0;
  double flops = 0.0;
  void operator+=(const AttendWork& other) noexcept {
    seconds += other.seconds;
    kv_bytes += other.kv_bytes;
    flops += other.flops;
  }
};

struct ReplayResult {
  int64_t requests_finished = 0;
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  int64_t query_tokens = 0;  // rows of q, over steps
  int64_t batch_sum = 0;     // sequences, over steps
  int64_t largest_batch = 0;
  std::vector<double> step_seconds;
  PhaseSeconds phases;
  AttendStats workers;  // where the workers of attend spent their time; a backend may tell nothing
  AttendWork decode_steps;
  AttendWork prefill_steps;
  PaddedCost padding;          // sums over steps
  Rates rates;                 // measured after the run; 0: not measured
  double limit_seconds = 0.0;  // what attend could not have gone below at these rates
  int64_t largest_partial_bytes = 0;
  int32_t num_pages = 0;
  int32_t peak_pages = 0;
  int32_t pages_in_use = 0;  // at the end: 0, or the tool has a defect
  int64_t cache_bytes = 0;   // of memory that held keys at the peak
  int64_t huge_bytes = 0;    // of it on huge pages; -1: unknown
  int64_t rows_checked = 0;
  int64_t rows_failed = 0;
  double worst_out = 0.0;  // largest error / bound
  double worst_lse = 0.0;
  std::string check_failure;
  bool interrupted = false;
  std::string error;  // of the library; empty: none

  [[nodiscard]] int64_t steps() const noexcept { return static_cast<int64_t>(step_seconds.size()); }
};

/// Always returns what was measured, also when it was interrupted or the library failed. Throws
/// BadInput if the trace cannot run with these options. `device` is where the context's backend
/// works.
ReplayResult replay(const Trace& trace, const ReplayOptions& options, Context& context,
                    MeasuredDevice& device, CommandIo& io);

}  // namespace attnrt::perf
