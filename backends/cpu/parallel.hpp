// SPDX-License-Identifier: Apache-2.0
// Numbered workers on oneTBB: the only door to it in the library.
#pragma once

#include <tbb/global_control.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <cstdint>
#include <optional>

namespace attnrt::cpu {

/// Threads of one context: an arena of its own, or (0 threads) the one that the caller is in.
class WorkerTeam {
 public:
  explicit WorkerTeam(int32_t num_threads) {
    if (num_threads == 0) return;
    arena_.emplace(num_threads);
    // oneTBB never starts more threads than cores unless it is told to.
    if (num_threads > tbb::info::default_concurrency()) {
      more_threads_.emplace(tbb::global_control::max_allowed_parallelism,
                            static_cast<size_t>(num_threads));
    }
  }

  [[nodiscard]] int32_t size() const noexcept {
    return arena_ ? arena_->max_concurrency() : tbb::this_task_arena::max_concurrency();
  }

  /// Calls body(worker) for each worker in [0, count), each once, in any order and on any threads:
  /// workers take their work from a shared counter, so it does not matter how many run at a time.
  /// A thread that waits here runs nothing but these workers.
  template <class Body>
  void run(int32_t count, const Body& body) {
    if (count <= 1) {
      if (count == 1) body(0);
      return;
    }
    const auto all = [&] {
      tbb::this_task_arena::isolate([&] {
        tbb::parallel_for(
            int32_t{0}, count, [&](int32_t worker) { body(worker); }, tbb::simple_partitioner());
      });
    };
    if (arena_) {
      arena_->execute(all);
    } else {
      all();
    }
  }

 private:
  std::optional<tbb::global_control> more_threads_;
  std::optional<tbb::task_arena> arena_;
};

}  // namespace attnrt::cpu
