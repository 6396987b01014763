// SPDX-License-Identifier: Apache-2.0
// Threads that start together, as often as asked.
#include "perf/probe_team.hpp"

#include <algorithm>

#include "perf/cpu_topology.hpp"
#include "perf/noise.hpp"

namespace attnrt::perf {
namespace {

// Threads that spin on one counter see it change within a microsecond of each other.
constexpr double kTogetherSeconds = 10e-6;
constexpr int kAttempts = 6;

}  // namespace

ProbeTeam::ProbeTeam(int32_t num_threads) : times_(static_cast<size_t>(std::max(1, num_threads))) {
  const std::vector<int> cpus = allowed_cpus();
  const std::vector<int> places = spread_threads(cpus, this->num_threads());
  oversubscribed_ = cpus.size() < times_.size();
  for (int32_t i = 0; i < this->num_threads(); ++i) {
    const int cpu = places.empty() ? -1 : places[static_cast<size_t>(i)];
    threads_.emplace_back([this, i, cpu] { loop(i, cpu); });
  }
}

ProbeTeam::~ProbeTeam() {
  end_ = true;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
}

void ProbeTeam::loop(int32_t index, int cpu) {
  // Where pinning is refused the scheduler decides, and run_together() looks at what came of it.
  if (cpu >= 0) (void)pin_to_cpu(cpu);
  for (uint32_t seen = 0;; ++seen) {
    round_.wait(seen, std::memory_order_acquire);
    if (end_) return;
    run_one(index);
  }
}

void ProbeTeam::run_one(int32_t index) {
  ready_.fetch_add(1, std::memory_order_acq_rel);
  // Spins, because a thread that sleeps or yields starts late, unless it stands in another's way.
  while (ready_.load(std::memory_order_acquire) < num_threads()) {
    if (oversubscribed_) std::this_thread::yield();
  }
  Times& times = times_[static_cast<size_t>(index)];
  times.begin = steady_seconds();
  (*work_)(index);
  times.end = steady_seconds();
  if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
}

TeamTime ProbeTeam::run(const std::function<void(int32_t)>& work) {
  work_ = &work;
  ready_ = 0;
  running_ = num_threads();
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (int32_t left = num_threads(); left > 0; left = running_.load(std::memory_order_acquire)) {
    running_.wait(left, std::memory_order_acquire);
  }
  double first_begin = times_[0].begin;
  double last_begin = first_begin;
  double last_end = times_[0].end;
  for (const Times& times : times_) {
    first_begin = std::min(first_begin, times.begin);
    last_begin = std::max(last_begin, times.begin);
    last_end = std::max(last_end, times.end);
  }
  return {last_end - first_begin, last_begin - first_begin};
}

TeamTime run_together(const std::function<TeamTime()>& attempt) {
  TeamTime time = attempt();
  for (int i = 1; i < kAttempts && time.late_start > kTogetherSeconds; ++i) time = attempt();
  return time;
}

}  // namespace attnrt::perf
