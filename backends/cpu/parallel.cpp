// SPDX-License-Identifier: Apache-2.0
// The only door to oneTBB in the library. Compiled without ThreadSanitizer in every preset: it
// would watch oneTBB's inline half and miss the other one, which is in an ordinary library.
#include "backends/cpu/parallel.hpp"

#include <tbb/global_control.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <memory>
#include <mutex>

namespace attnrt::cpu {

namespace {

// oneTBB starts no more threads than cores unless it is told to. The limit of the process is only
// ever raised, to the most that a context has asked for: were it lowered again when that context
// ends, oneTBB would print a warning at the next arena that wants more.
void allow_threads(int32_t num_threads) {
  static std::mutex mutex;
  static int32_t allowed = tbb::info::default_concurrency();
  static tbb::global_control* control = nullptr;  // never destroyed: oneTBB may be gone by then
  const std::scoped_lock lock(mutex);
  if (num_threads <= allowed) return;
  auto raised = std::make_unique<tbb::global_control>(tbb::global_control::max_allowed_parallelism,
                                                      static_cast<size_t>(num_threads));
  delete control;  // after the new one is there; the smallest of all counts
  control = raised.release();
  allowed = num_threads;
}

}  // namespace

struct WorkerTeam::Arena {
  explicit Arena(int32_t num_threads) : arena(num_threads) { allow_threads(num_threads); }

  tbb::task_arena arena;
};

WorkerTeam::WorkerTeam(int32_t num_threads)
    : arena_(num_threads == 0 ? nullptr : std::make_unique<Arena>(num_threads)) {}

WorkerTeam::~WorkerTeam() = default;

int32_t WorkerTeam::size() const noexcept {
  return arena_ ? arena_->arena.max_concurrency() : tbb::this_task_arena::max_concurrency();
}

void WorkerTeam::run_workers(int32_t count, void (*work)(void* context, int32_t worker),
                             void* context) {
  const auto all = [&] {
    tbb::this_task_arena::isolate([&] {
      tbb::parallel_for(
          int32_t{0}, count, [&](int32_t worker) { work(context, worker); },
          tbb::simple_partitioner());
    });
  };
  if (arena_) {
    arena_->arena.execute(all);
  } else {
    all();
  }
}

}  // namespace attnrt::cpu
