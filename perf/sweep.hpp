// SPDX-License-Identifier: Apache-2.0
// Measures the combinations of a sweep, each beside the limits of the machine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attnrt/attention.hpp"
#include "perf/cli.hpp"
#include "perf/kv_rotation.hpp"
#include "perf/limits.hpp"
#include "perf/measured_device.hpp"
#include "perf/noise.hpp"
#include "perf/plan_probe.hpp"
#include "perf/sweep_call.hpp"
#include "perf/sweep_grid.hpp"

namespace attnrt::perf {

/// How to measure, the same for all rows.
struct SweepSettings {
  bool cold = true;
  RepeatPolicy repeat;
  ColdRule cold_rule;  // budget for the copies of K and V; the probe takes as much again
};

/// SweepResult::lost_share above which a row says more about the other processes of the machine
/// than about its call.
inline constexpr double kLostShare = 0.03;

/// The copies and the probe's memory leave a fifth of what is available to everything else.
ColdRule cold_rule_of(const MeasuredDevice& device);

/// The same of the host.
ColdRule cold_rule_here();

/// What was measured of one combination.
struct SweepResult {
  std::string isa;      // that ran
  std::string backend;  // that ran
  Work work;
  int64_t copies = 0;
  int64_t rotation_bytes = 0;  // read before a copy's turn comes again
  int64_t huge_percent = -1;   // of K and V on huge pages; -1: the system does not say
  Summary seconds;             // of one attend
  Summary beside;              // of one attend of the case that took turns with it
  double beside_rate = 0.0;    // operations per second of that case; 0: there was none
  int64_t repeats = 0;
  double lost_share = -1.0;  // of the threads' time, to other processes; negative: not known,
                             // or no threads that matter
  double read_rate = 0.0;    // median of the read probe, bytes per second
  double flop_rate = 0.0;    // median of the multiply probe, operations per second
  std::string read_variant;
  std::string arithmetic;  // what the multiply probe multiplied with: "f32 FMA"
  Limit limit;
  PlanFigures plan;  // of cases with a mask; repeats is 0 for others

  /// Operations per second.
  [[nodiscard]] double rate() const { return static_cast<double>(work.flops) / seconds.median; }
};

/// A case and the context that runs it.
struct SweepEntry {
  const SweepCase& sweep_case;
  Context& context;
};

/// Measures one row after the other, keeping memory and probe threads between them.
class SweepRunner {
 public:
  /// `device` must outlive it, and have the contexts' backend at work in its memory.
  SweepRunner(const SweepSettings& settings, MeasuredDevice& device)
      : settings_(settings), device_(device), probe_memory_(device) {}

  /// `context` has the threads and the ISA of `sweep_case`. OutOfMemory where the copies do not
  /// fit the budget; Cancelled after a stop request; otherwise what the library answers.
  Status measure(const SweepCase& sweep_case, Context& context, const CommandIo& io,
                 SweepResult& result);

  /// Entries take turns, so that their times can be compared. All have the same number of threads;
  /// the read probe has the bytes of the first one.
  Status measure_together(std::span<const SweepEntry> entries, const CommandIo& io,
                          std::vector<SweepResult>& results);

 private:
  Status prepare(const SweepCase& sweep_case, size_t index, size_t count,
                 std::unique_ptr<SweepCall>& call);

  SweepSettings settings_;
  MeasuredDevice& device_;
  std::vector<KvMemory> kv_memories_;  // by entry
  KvMemory probe_memory_;
};

}  // namespace attnrt::perf
