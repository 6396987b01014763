// SPDX-License-Identifier: Apache-2.0
// Measures the combinations of a sweep, each beside the limits of the machine.
#include "perf/sweep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <vector>

#include "perf/host_device.hpp"
#include "perf/run_delay.hpp"
#include "perf/statistics.hpp"

namespace attnrt::perf {
namespace {

constexpr int64_t kMinRounds = 3;  // so that the probes stand before, between and after the calls

/// Calls and probes take turns. A short call is timed several times per turn, after one that is not
/// timed: the probes leave the library's threads asleep, and an engine calls layer after layer.
struct Turn {
  int64_t untimed = 0;
  int64_t timed = 1;
};

Turn turn_for(double call_seconds) {
  if (call_seconds < 2e-3) return {1, 8};
  if (call_seconds < 20e-3) return {1, 2};
  return {0, 1};
}

Status cancelled() { return {Code::kCancelled, "interrupted"}; }

/// A call and where it runs.
struct Runner {
  SweepCall& call;
  Context& context;
  MeasuredDevice& device;

  Status attend(const CommandIo& io, double& seconds) const {
    if (io.stop.stop_requested()) return cancelled();
    Status status;
    seconds = device.timed([&] { status = call.attend(context, io.stop); });
    return status;
  }
};

/// The call whose time the turns are cut by. The one before it pays for first touches, which a
/// long call does not notice.
Status warm_up(const Runner& runner, const CommandIo& io, double& seconds) {
  constexpr double kLongSeconds = 0.1;
  Status status = runner.context.reserve(runner.call.plan());
  if (status.ok()) status = runner.attend(io, seconds);
  if (!status.ok() || seconds > kLongSeconds) return status;
  return runner.attend(io, seconds);
}

/// The rates of the probes, one of each or more per turn.
struct ProbeSamples {
  RateProbe& read;
  std::vector<double> read_rates = {};

  void take(const Turn& turn) {
    for (int64_t i = 0; i < turn.untimed; ++i) read.run();
    for (int64_t i = 0; i < turn.timed; ++i) read_rates.push_back(read.run());
  }
};

/// A call, its times, the rate of what it multiplies with, and how long its threads waited for a
/// CPU.
struct CallSamples {
  Runner runner;
  std::unique_ptr<RateProbe> multiply;
  Repeater repeater;
  std::vector<double> flop_rates = {};
  Turn turn = {};
  double call_seconds = 0.0;
  double delay_seconds = 0.0;  // negative: the system does not say

  Status warm_up(const CommandIo& io) {
    double seconds = 0.0;
    Status status = perf::warm_up(runner, io, seconds);
    turn = turn_for(seconds);
    return status;
  }

  Status take(const CommandIo& io) {
    flop_rates.push_back(multiply->run());
    double seconds = 0.0;
    Status status;
    for (int64_t i = 0; i < turn.untimed && status.ok(); ++i) {
      status = runner.attend(io, seconds);
    }
    const ThreadTimes before = read_thread_times();
    double turn_seconds = 0.0;
    for (int64_t i = 0; i < turn.timed && status.ok(); ++i) {
      status = runner.attend(io, seconds);
      if (!status.ok()) break;
      repeater.add(seconds);
      turn_seconds += seconds;
    }
    // The probes' threads and the one that waits for Ctrl-C have a CPU for microseconds only.
    const double waited = waited_seconds(before, read_thread_times(), 0.01 * turn_seconds);
    const bool known = waited >= 0.0 && runner.device.host_memory();
    delay_seconds = known ? delay_seconds + waited : -1.0;
    call_seconds += turn_seconds;
    return status;
  }
};

Status take_turns(std::span<CallSamples> calls, const CommandIo& io, ProbeSamples& probes) {
  Status status;
  for (CallSamples& call : calls) {
    if (status.ok()) status = call.warm_up(io);
  }
  const auto done = [](const CallSamples& call) { return call.repeater.done(); };
  for (int64_t round = 0;
       status.ok() && (round < kMinRounds || !std::all_of(calls.begin(), calls.end(), done));
       ++round) {
    probes.take(calls.front().turn);
    for (CallSamples& call : calls) {
      if (status.ok()) status = call.take(io);
    }
  }
  return status;
}

// What the call's own samples say.
SweepResult result_of(const CallSamples& samples) {
  const auto& [call, context, device] = samples.runner;
  const Work& work = call.work();
  SweepResult result;
  result.isa = context.isa();
  result.backend = context.backend();
  result.work = work;
  result.copies = call.copies();
  result.rotation_bytes = result.copies * work.kv_bytes;
  result.seconds = summarize(samples.repeater.samples());
  result.repeats = static_cast<int64_t>(samples.repeater.samples().size());
  // Waiting is booked when it ends, so some may have begun before the call.
  const double thread_seconds = samples.call_seconds * context.num_threads();
  result.lost_share = std::min(1.0, samples.delay_seconds / thread_seconds);
  result.flop_rate = median(samples.flop_rates);
  result.arithmetic = samples.multiply->name();
  return result;
}

}  // namespace

ColdRule cold_rule_of(const MeasuredDevice& device) {
  constexpr int64_t kModestBytes = int64_t{1} << 30;  // where the system does not say how much
  ColdRule rule;
  rule.llc_bytes = device.cache_bytes();
  rule.rotation_bytes = rotation_bytes_for(rule.llc_bytes);
  const int64_t available = device.free_bytes();
  rule.budget_bytes = available > 0 ? available / 5 * 2 : kModestBytes;
  return rule;
}

ColdRule cold_rule_here() { return cold_rule_of(HostDevice()); }

Status SweepRunner::prepare(const SweepCase& sweep_case, size_t index, size_t count,
                            std::unique_ptr<SweepCall>& call) {
  ColdRule rule = settings_.cold_rule;
  rule.budget_bytes /= static_cast<int64_t>(count);
  const int64_t copy_bytes = kv_copy_bytes(sweep_case);
  const int64_t copies =
      settings_.cold ? choose_copies(copy_bytes, work_of(sweep_case).kv_bytes, rule) : 1;
  if (copies == 0 || copy_bytes > rule.budget_bytes) {
    return {Code::kOutOfMemory,
            fmt::format("one copy of K and V is {} MB: too few fit {} MB of memory to be {}",
                        copy_bytes >> 20, rule.budget_bytes >> 20,
                        settings_.cold ? "cold" : "measured")};
  }
  while (kv_memories_.size() <= index) kv_memories_.emplace_back(device_);
  const KvRotation rotation(sweep_case, copies);
  std::byte* const kv = kv_memories_[index].get(rotation.total_bytes(), sweep_case.dtype);
  call = std::make_unique<SweepCall>(sweep_case, rotation, kv, device_);
  return call->prepare();
}

Status SweepRunner::measure(const SweepCase& sweep_case, Context& context, const CommandIo& io,
                            SweepResult& result) {
  const SweepEntry entry{sweep_case, context};
  std::vector<SweepResult> results;
  Status status = measure_together({&entry, 1}, io, results);
  if (status.ok()) result = results.front();
  return status;
}

Status SweepRunner::measure_together(std::span<const SweepEntry> entries, const CommandIo& io,
                                     std::vector<SweepResult>& results) {
  std::vector<std::unique_ptr<SweepCall>> calls(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    Status status = prepare(entries[i].sweep_case, i, entries.size(), calls[i]);
    if (!status.ok()) return status;
  }
  // Memory of its own, so that neither finds in a cache what the other one has read.
  const int64_t slice_bytes = work_of(entries.front().sweep_case).kv_bytes;
  const int64_t rotation_bytes = calls.front()->copies() * slice_bytes;
  const std::byte* const memory = probe_memory_.get(rotation_bytes, DType::kF32);
  const std::unique_ptr<RateProbe> read = device_.read_probe(
      {memory, static_cast<size_t>(rotation_bytes)}, slice_bytes, entries.front().context);

  ProbeSamples probes{*read};
  std::vector<CallSamples> samples;
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto& [sweep_case, context] = entries[i];
    samples.push_back({{*calls[i], context, device_},
                       device_.multiply_probe(context, sweep_case.dtype),
                       Repeater(settings_.repeat, steady_seconds)});
  }
  Status status = take_turns(samples, io, probes);
  if (!status.ok()) return status;
  results.clear();
  for (size_t i = 0; i < entries.size(); ++i) {
    SweepResult result = result_of(samples[i]);
    result.read_rate = median(probes.read_rates);
    result.read_variant = read->name();
    result.limit = limit_of(result.work, {result.read_rate, result.flop_rate});
    const int64_t huge = kv_memories_[i].huge_bytes();
    const int64_t filled = kv_memories_[i].filled_bytes();
    result.huge_percent = huge < 0 ? -1 : std::min<int64_t>(100, huge * 100 / filled);
    if (!entries[i].sweep_case.mask.empty()) {
      constexpr RepeatPolicy kPlanPolicy{.max_seconds = 0.2, .min_repeats = 3};
      status = measure_plan(calls[i]->input(), kPlanPolicy, result.plan);
      if (!status.ok()) return status;
    }
    results.push_back(result);
  }
  return {};
}

}  // namespace attnrt::perf
