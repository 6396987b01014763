// SPDX-License-Identifier: Apache-2.0
// Threads that start together, as often as asked. Between two runs they sleep, so that they take
// nothing from the kernel that is measured in turn with a probe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace attnrt::perf {

/// What the clocks of all threads said about one run.
struct TeamTime {
  double seconds = 0.0;     // from the first thread's start to the last one's end
  double late_start = 0.0;  // from the first thread's start to the last one's
};

class ProbeTeam {
 public:
  /// Threads of its own, each pinned to a core where there are enough: left to the scheduler, two
  /// of them may be woken on one core and run one after the other.
  explicit ProbeTeam(int32_t num_threads);
  ~ProbeTeam();
  ProbeTeam(const ProbeTeam&) = delete;
  ProbeTeam& operator=(const ProbeTeam&) = delete;

  /// Runs work(0) .. work(num_threads - 1), one per thread. All threads are awake before the first
  /// one starts: what it costs to wake them up is no part of a machine's limit.
  TeamTime run(const std::function<void(int32_t)>& work);

  [[nodiscard]] int32_t num_threads() const { return static_cast<int32_t>(times_.size()); }

 private:
  struct alignas(64) Times {
    double begin = 0.0;
    double end = 0.0;
  };

  void loop(int32_t index, int cpu);
  void run_one(int32_t index);

  std::vector<Times> times_;
  bool oversubscribed_ = false;  // more threads than CPUs
  const std::function<void(int32_t)>* work_ = nullptr;
  std::atomic<uint32_t> round_{0};
  std::atomic<int32_t> ready_{0};
  std::atomic<int32_t> running_{0};
  std::atomic<bool> end_{false};
  std::vector<std::jthread> threads_;  // last, so that they end first
};

/// Calls `attempt`, which runs a team once, until its threads have started together, a few times at
/// most; the last attempt's time. A run whose threads did not overlap says nothing about a limit.
TeamTime run_together(const std::function<TeamTime()>& attempt);

}  // namespace attnrt::perf
