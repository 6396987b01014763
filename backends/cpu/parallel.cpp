// SPDX-License-Identifier: Apache-2.0
// The only door to oneTBB in the library. Compiled without ThreadSanitizer in every preset: it
// would watch oneTBB's inline half and miss the other one, which is in an ordinary library.
#include "backends/cpu/parallel.hpp"

#include <tbb/global_control.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <optional>

namespace attnrt::cpu {

struct WorkerTeam::Arena {
  explicit Arena(int32_t num_threads) : arena(num_threads) {
    // oneTBB never starts more threads than cores unless it is told to.
    if (num_threads > tbb::info::default_concurrency()) {
      more_threads.emplace(tbb::global_control::max_allowed_parallelism,
                           static_cast<size_t>(num_threads));
    }
  }

  std::optional<tbb::global_control> more_threads;
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
