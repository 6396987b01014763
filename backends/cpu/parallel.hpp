// SPDX-License-Identifier: Apache-2.0
// Numbered workers: what the rest of the backend sees of oneTBB, which only parallel.cpp includes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "backends/cpu/float_settings.hpp"

namespace attnrt::cpu {

/// Threads of one context: an arena of its own, or (0 threads) the one that the caller is in.
class WorkerTeam {
 public:
  explicit WorkerTeam(int32_t num_threads);
  ~WorkerTeam();

  [[nodiscard]] int32_t size() const noexcept;

  /// Calls body(worker) for each worker in [0, count), each once, in any order and on any threads:
  /// workers take their work from a shared counter, so it does not matter how many run at a time.
  /// A thread that waits here runs nothing but these workers.
  template <class Body>
  void run(int32_t count, const Body& body) {
    if (count <= 1) {
      const FloatSettings settings;
      if (count == 1) body(0);
      return;
    }
    // oneTBB orders what workers see and leave behind, but ThreadSanitizer cannot look into a
    // library that was built without it. Two atomics, touched once per worker, say the same where
    // it looks, so that it reports every race of ours and none of oneTBB's making.
    struct Shared {
      const Body& body;
      std::atomic<bool> begun{false};
      std::atomic<int32_t> ended{0};
    } shared{body};
    shared.begun.store(true, std::memory_order_release);
    const auto work = [](void* context, int32_t worker) {
      auto& all = *static_cast<Shared*>(context);
      static_cast<void>(all.begun.load(std::memory_order_acquire));
      const FloatSettings settings;
      all.body(worker);
      all.ended.fetch_add(1, std::memory_order_release);
    };
    run_workers(count, work, &shared);
    static_cast<void>(shared.ended.load(std::memory_order_acquire));
  }

 private:
  struct Arena;

  void run_workers(int32_t count, void (*work)(void* context, int32_t worker), void* context);

  std::unique_ptr<Arena> arena_;  // null: the caller's
};

}  // namespace attnrt::cpu
