// SPDX-License-Identifier: Apache-2.0
#include "tests/support/simt.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <new>
#include <utility>

#include "tests/support/simt_collective.hpp"
#include "tests/support/simt_fiber.hpp"
#include "tests/support/simt_shared.hpp"

#if defined(ATTNRT_TEST_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace attnrt::test {
namespace {

namespace machine = cuda::device::machine;
using machine::WarpOp;
using machine::Where;

constexpr size_t kStackBytes = 256 << 10;
constexpr uint32_t kMaxThreads = 1024;

struct AsyncCopy {
  uint32_t address;
  const std::byte* source;
  uint32_t bytes;
  uint32_t group;  // how many groups this thread had committed before
};

enum class Wait : uint8_t { kReady, kWarp, kBlock, kDone };

struct Thread {
  Fiber fiber;
  Wait wait = Wait::kReady;
  WarpOp op = WarpOp::kSync;
  void* args = nullptr;
  Where where{"", 0};
  bool vote = false;
  std::deque<AsyncCopy> copies;
  uint32_t groups = 0;  // committed
};

// Stacks are mapped once: only what kernels touch costs memory.
std::byte* stacks() {
  static std::byte* const memory = [] {
    void* mapped = mmap(nullptr, kStackBytes * kMaxThreads, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    return static_cast<std::byte*>(mapped);
  }();
  return memory;
}

class Machine {
 public:
  std::string run(const SimtLaunch& launch, const SimtMemory& memory,
                  const std::function<void()>& kernel);

  [[nodiscard]] uint32_t thread() const { return current_; }
  [[nodiscard]] uint32_t block_x() const { return block_x_; }
  [[nodiscard]] uint32_t block_y() const { return block_y_; }

  bool barrier(bool value, Where where);
  void collective(WarpOp op, void* args, Where where);
  void copy(uint32_t address, const void* source, uint32_t bytes, Where where);
  void commit() { ++threads_[current_].groups; }
  void wait_for_copies(uint32_t pending);
  void global(const void* data, uint32_t bytes, bool write, Where where);
  void shared_read(uint32_t address, void* value, uint32_t bytes, Where where);
  void shared_write(uint32_t address, const void* value, uint32_t bytes, Where where);

  SimtCounts counts;

 private:
  static void entry();
  void run_block();
  bool run_warp(uint32_t warp);
  void leave() { Fiber::switch_to(threads_[current_].fiber, scheduler_); }
  void finish_barrier();
  void finish_collective(uint32_t warp);
  void load_matrices(uint32_t warp, bool transposed);
  std::string stuck() const;
  [[noreturn]] void fail(std::string&& what, Where where);
  void check(std::string&& what, Where where) {
    if (!what.empty()) fail(std::move(what), where);
  }
  [[nodiscard]] SimtMoment now(uint32_t thread) const {
    return {thread, block_moment_, warp_moment_[thread / 32]};
  }

  const std::function<void()>* kernel_ = nullptr;
  const SimtMemory* memory_ = nullptr;
  SimtLaunch launch_;
  Thread threads_[kMaxThreads];
  Fiber scheduler_;
  SimtShared shared_;
  uint32_t block_moment_ = 1;
  uint32_t warp_moment_[kMaxThreads / 32] = {};
  uint32_t current_ = 0;
  uint32_t at_barrier_ = 0;
  uint32_t in_warp_[kMaxThreads / 32] = {};
  uint32_t block_x_ = 0;
  uint32_t block_y_ = 0;
  bool vote_result_ = false;
  std::string wrong_;
};

Machine* running = nullptr;

void Machine::entry() {
  Fiber::entered();
  (*running->kernel_)();
  Thread& me = running->threads_[running->current_];
  me.wait = Wait::kDone;
  Fiber::switch_to(me.fiber, running->scheduler_, true);
}

// Takes the text: a stack that is left for good must not own memory.
void Machine::fail(std::string&& what, Where where) {
  {
    const std::string text = std::move(what);
    wrong_ = text + " (thread " + std::to_string(current_) + " of block " +
             std::to_string(block_x_) + ", " + std::to_string(block_y_) + ", line " +
             std::to_string(where.line) + " of " + where.file + ")";
  }
  for (;;) leave();  // never comes back: a failed block is not resumed
}

std::string Machine::run(const SimtLaunch& launch, const SimtMemory& memory,
                         const std::function<void()>& kernel) {
  if (launch.threads == 0 || launch.threads % 32 != 0 || launch.threads > kMaxThreads) {
    return "a block of " + std::to_string(launch.threads) + " threads";
  }
  counts = {};
  wrong_.clear();
  launch_ = launch;
  memory_ = &memory;
  kernel_ = &kernel;
  for (block_y_ = 0; block_y_ < launch.blocks_y; ++block_y_) {
    for (block_x_ = 0; block_x_ < launch.blocks_x; ++block_x_) {
      run_block();
      if (!wrong_.empty()) return wrong_;
    }
  }
  return {};
}

void Machine::run_block() {
  ++block_moment_;
  shared_.reset(launch_.shared_bytes, block_moment_);
#if defined(ATTNRT_TEST_ASAN)
  ASAN_UNPOISON_MEMORY_REGION(stacks(), kStackBytes * launch_.threads);
#endif
  at_barrier_ = 0;
  std::fill(std::begin(in_warp_), std::end(in_warp_), 0u);
  for (uint32_t t = 0; t < launch_.threads; ++t) {
    Thread& thread = threads_[t];
    thread.wait = Wait::kReady;
    thread.copies.clear();
    thread.groups = 0;
    thread.fiber.prepare(stacks() + kStackBytes * t, kStackBytes, entry);
  }
  const uint32_t warps = launch_.threads / 32;
  for (bool progress = true; progress && wrong_.empty();) {
    progress = false;
    for (uint32_t w = 0; w < warps && wrong_.empty(); ++w) {
      progress = run_warp(launch_.reversed ? warps - 1 - w : w) || progress;
    }
  }
  if (wrong_.empty()) wrong_ = stuck();
}

// Until no lane of the warp can go on alone.
bool Machine::run_warp(uint32_t warp) {
  bool any = false;
  for (bool progress = true; progress && wrong_.empty();) {
    progress = false;
    for (uint32_t t = warp * 32; t < warp * 32 + 32 && wrong_.empty(); ++t) {
      if (threads_[t].wait != Wait::kReady) continue;
      current_ = t;
      Fiber::switch_to(scheduler_, threads_[t].fiber);
      any = progress = true;
    }
  }
  return any;
}

std::string Machine::stuck() const {
  const Thread* waiting = nullptr;
  const Thread* other = nullptr;
  uint32_t waiting_at = 0;
  uint32_t other_at = 0;
  for (uint32_t t = 0; t < launch_.threads; ++t) {
    const Thread& thread = threads_[t];
    if (thread.wait != Wait::kDone && waiting == nullptr) {
      waiting = &thread;
      waiting_at = t;
    }
  }
  if (waiting == nullptr) return {};
  for (uint32_t t = 0; t < launch_.threads && other == nullptr; ++t) {
    const Thread& thread = threads_[t];
    if (thread.wait != waiting->wait || thread.where.line != waiting->where.line) {
      other = &thread;
      other_at = t;
    }
  }
  std::string text = "thread " + std::to_string(waiting_at) + " waits at a barrier of its " +
                     (waiting->wait == Wait::kBlock ? "block" : "warp") + " in line " +
                     std::to_string(waiting->where.line) + " that not all threads reach";
  if (other == nullptr) return text;
  return text + ": thread " + std::to_string(other_at) +
         (other->wait == Wait::kDone ? " has ended"
                                     : " waits in line " + std::to_string(other->where.line));
}

bool Machine::barrier(bool value, Where where) {
  Thread& me = threads_[current_];
  me.wait = Wait::kBlock;
  me.where = where;
  me.vote = value;
  if (++at_barrier_ == launch_.threads) finish_barrier();
  if (me.wait != Wait::kReady) leave();
  return vote_result_;
}

void Machine::finish_barrier() {
  at_barrier_ = 0;
  ++block_moment_;
  ++counts.barriers;
  vote_result_ = false;
  for (uint32_t t = 0; t < launch_.threads; ++t) {
    Thread& thread = threads_[t];
    vote_result_ = vote_result_ || thread.vote;
    thread.wait = Wait::kReady;
  }
}

void Machine::collective(WarpOp op, void* args, Where where) {
  Thread& me = threads_[current_];
  me.wait = Wait::kWarp;
  me.where = where;
  me.op = op;
  me.args = args;
  const uint32_t warp = current_ / 32;
  if (++in_warp_[warp] == 32) finish_collective(warp);
  if (me.wait != Wait::kReady) leave();
}

template <class Args>
struct LaneArgs {
  Args* lanes[32];
  explicit LaneArgs(const Thread* threads) {
    for (int i = 0; i < 32; ++i) lanes[i] = static_cast<Args*>(threads[i].args);
  }
};

void Machine::finish_collective(uint32_t warp) {
  const Thread* first = &threads_[warp * 32];
  for (uint32_t i = 1; i < 32; ++i) {
    if (first[i].op == first->op && first[i].where.line == first->where.line) continue;
    fail("lanes of a warp meet in different collectives: line " +
             std::to_string(first->where.line) + " and " + std::to_string(first[i].where.line),
         first->where);
  }
  ++warp_moment_[warp];
  switch (first->op) {
    case WarpOp::kSync:
      break;
    case WarpOp::kShuffle:
      simt_shuffle(LaneArgs<ShuffleArgs>(first).lanes);
      break;
    case WarpOp::kLoadMatrix:
    case WarpOp::kLoadTransposed:
      load_matrices(warp, first->op == WarpOp::kLoadTransposed);
      break;
    case WarpOp::kMmaHalf:
    case WarpOp::kMmaBFloat:
      ++counts.mma;
      simt_mma(LaneArgs<MmaArgs>(first).lanes,
               first->op == WarpOp::kMmaHalf ? f16_to_f32 : bf16_to_f32);
      break;
  }
  in_warp_[warp] = 0;
  for (uint32_t i = 0; i < 32; ++i) threads_[warp * 32 + i].wait = Wait::kReady;
}

// Lane 8 m + r brings the address of row r of matrix m.
void Machine::load_matrices(uint32_t warp, bool transposed) {
  ++counts.load_matrix;
  const LaneArgs<LoadMatrixArgs> args(&threads_[warp * 32]);
  uint16_t rows[4][8][8];
  for (uint32_t i = 0; i < 32; ++i) {
    const uint32_t thread = warp * 32 + i;
    check(shared_.read(args.lanes[i]->address, rows[i / 8][i % 8], 16, now(thread)),
          threads_[thread].where);
  }
  simt_spread_matrices(args.lanes, rows, transposed);
}

void Machine::copy(uint32_t address, const void* source, uint32_t bytes, Where where) {
  if (bytes > 16) fail("cp.async of " + std::to_string(bytes) + " bytes", where);
  // Where nothing is read the address does not matter, but it must be aligned.
  if (reinterpret_cast<uintptr_t>(source) % 16 != 0) fail("cp.async: source not aligned", where);
  if (bytes > 0) global(source, bytes, false, where);
  check(shared_.begin_copy(address, now(current_)), where);
  counts.copied_bytes += bytes;
  Thread& me = threads_[current_];
  me.copies.push_back({address, static_cast<const std::byte*>(source), bytes, me.groups});
}

void Machine::wait_for_copies(uint32_t pending) {
  Thread& me = threads_[current_];
  while (!me.copies.empty() && me.copies.front().group + pending < me.groups) {
    const AsyncCopy& copy = me.copies.front();
    std::byte bytes[16] = {};
    if (copy.bytes > 0) std::memcpy(bytes, copy.source, copy.bytes);
    shared_.end_copy(copy.address, bytes, now(current_));
    me.copies.pop_front();
  }
}

void Machine::global(const void* data, uint32_t bytes, bool write, Where where) {
  if (reinterpret_cast<uintptr_t>(data) % (bytes > 8 ? 16 : bytes) != 0 && bytes <= 16) {
    const bool partial_copy = bytes < 16 && (bytes & (bytes - 1)) != 0;
    if (!partial_copy)
      fail("global access of " + std::to_string(bytes) + " unaligned bytes", where);
  }
  if (memory_->allows(data, bytes, write)) return;
  fail(std::string(write ? "a write" : "a read") + " of " + std::to_string(bytes) +
           " bytes outside of all buffers",
       where);
}

void Machine::shared_read(uint32_t address, void* value, uint32_t bytes, Where where) {
  check(shared_.read(address, value, bytes, now(current_)), where);
}

void Machine::shared_write(uint32_t address, const void* value, uint32_t bytes, Where where) {
  check(shared_.write(address, value, bytes, now(current_)), where);
}

}  // namespace

std::string simt_run(const SimtLaunch& launch, const SimtMemory& memory,
                     const std::function<void()>& kernel) {
  static Machine machine_of_tests;  // tests run one after the other
  running = &machine_of_tests;
  return running->run(launch, memory, kernel);
}

SimtCounts simt_counts() { return running == nullptr ? SimtCounts{} : running->counts; }

}  // namespace attnrt::test

namespace attnrt::cuda::device::machine {

using attnrt::test::running;

uint32_t thread_index() { return running->thread(); }
uint32_t block_x() { return running->block_x(); }
uint32_t block_y() { return running->block_y(); }
bool block_barrier(bool value, Where where) { return running->barrier(value, where); }
void warp_collective(WarpOp op, void* args, Where where) { running->collective(op, args, where); }
void copy_async(uint32_t address, const void* source, uint32_t bytes, Where where) {
  running->copy(address, source, bytes, where);
}
void copy_async_commit() { running->commit(); }
void copy_async_wait(uint32_t pending) { running->wait_for_copies(pending); }
void global_read(const void* source, void* value, uint32_t bytes, Where where) {
  running->global(source, bytes, false, where);
  std::memcpy(value, source, bytes);
}
void global_write(void* target, const void* value, uint32_t bytes, Where where) {
  running->global(target, bytes, true, where);
  std::memcpy(target, value, bytes);
}
void shared_read(uint32_t address, void* value, uint32_t bytes, Where where) {
  running->shared_read(address, value, bytes, where);
}
void shared_write(uint32_t address, const void* value, uint32_t bytes, Where where) {
  running->shared_write(address, value, bytes, where);
}

}  // namespace attnrt::cuda::device::machine
