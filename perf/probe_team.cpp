// SPDX-License-Identifier: Apache-2.0
// Threads that start together, as often as asked.
#include "perf/probe_team.hpp"

#include <algorithm>

#include "perf/noise.hpp"

namespace attnrt::perf {
namespace {

// Spins, because a sleeping thread would start tens of microseconds late; yields after a while,
// because there may be more threads than cores.
void wait_for(const std::atomic<int32_t>& counter, int32_t value) {
  for (int32_t spins = 0; counter.load(std::memory_order_acquire) < value; ++spins) {
    if (spins > 4096) std::this_thread::yield();
  }
}

}  // namespace

ProbeTeam::ProbeTeam(int32_t num_threads) : times_(static_cast<size_t>(std::max(1, num_threads))) {
  for (int32_t i = 1; i < this->num_threads(); ++i) {
    threads_.emplace_back([this, i] { loop(i); });
  }
}

ProbeTeam::~ProbeTeam() {
  end_ = true;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
}

void ProbeTeam::loop(int32_t index) {
  for (uint32_t seen = 0;; ++seen) {
    round_.wait(seen, std::memory_order_acquire);
    if (end_) return;
    run_one(index);
  }
}

void ProbeTeam::run_one(int32_t index) {
  ready_.fetch_add(1, std::memory_order_acq_rel);
  wait_for(ready_, num_threads());
  Times& times = times_[static_cast<size_t>(index)];
  times.begin = steady_seconds();
  (*work_)(index);
  times.end = steady_seconds();
  finished_.fetch_add(1, std::memory_order_acq_rel);
}

double ProbeTeam::run(const std::function<void(int32_t)>& work) {
  work_ = &work;
  ready_ = 0;
  finished_ = 0;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  run_one(0);
  wait_for(finished_, num_threads());
  double begin = times_[0].begin;
  double end = times_[0].end;
  for (const Times& times : times_) {
    begin = std::min(begin, times.begin);
    end = std::max(end, times.end);
  }
  return end - begin;
}

}  // namespace attnrt::perf
