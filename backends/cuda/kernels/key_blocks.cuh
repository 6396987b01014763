// SPDX-License-Identifier: Apache-2.0
// Which blocks of 64 keys a block of threads visits: all from the first to the last, or those that
// the runs of a mask name. Both are asked for blocks 0, 1, 2, .. in this order, by number: for the
// one that is computed, and, further ahead, for the one whose sources are looked up.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/params.hpp"

namespace attnrt::cuda {

template <bool kRuns>
class KeyBlocks {
 public:
  static constexpr bool kHasGaps = false;

  ATTNRT_DEVICE void begin(const AttendParams&, const DeviceUnit&, int32_t first, int32_t last) {
    first_ = first;
    last_ = last;
  }
  [[nodiscard]] ATTNRT_DEVICE int32_t count() const { return last_ - first_ + 1; }
  [[nodiscard]] ATTNRT_DEVICE int32_t now(int32_t i) const { return first_ + i; }
  [[nodiscard]] ATTNRT_DEVICE int32_t ahead(int32_t i) const { return first_ + i; }
  [[nodiscard]] ATTNRT_DEVICE bool begins_split(int32_t i) const {
    return i == 0 || now(i) % kSplitBlocks == 0;
  }
  [[nodiscard]] ATTNRT_DEVICE bool ends_split(int32_t i) const {
    return now(i) == last_ || (now(i) + 1) % kSplitBlocks == 0;
  }
  [[nodiscard]] ATTNRT_DEVICE bool undecided() const { return false; }

 private:
  int32_t first_ = 0;
  int32_t last_ = 0;
};

/// A place in a list of runs.
class RunCursor {
 public:
  /// At the first block of runs [run, end) that is not before `first`; those after `last` do not
  /// count.
  ATTNRT_DEVICE void begin(const DeviceRun* run, const DeviceRun* end, int32_t first,
                           int32_t last) {
    next_ = run;
    end_ = end;
    last_ = last;
    enter(first);
  }
  /// Past the last one: a block that nobody sees.
  [[nodiscard]] ATTNRT_DEVICE int32_t block() const { return block_; }
  [[nodiscard]] ATTNRT_DEVICE bool undecided() const { return undecided_; }

  ATTNRT_DEVICE void move() {
    if (block_ > last_) return;
    if (++block_ < run_end_) return;
    enter(block_);
  }

 private:
  ATTNRT_DEVICE void enter(int32_t first) {
    block_ = last_ + 1;
    if (next_ == end_) return;
    const DeviceRun run = device::load(next_++);
    if (run.begin > last_) return;
    block_ = run.begin > first ? run.begin : first;
    run_end_ = run.end <= last_ ? run.end : last_ + 1;
    undecided_ = run.undecided != 0;
    if (run_end_ == last_ + 1) next_ = end_;
  }

  const DeviceRun* next_ = nullptr;
  const DeviceRun* end_ = nullptr;
  int32_t last_ = 0;
  int32_t block_ = 0;
  int32_t run_end_ = 0;
  bool undecided_ = false;
};

template <>
class KeyBlocks<true> {
 public:
  static constexpr bool kHasGaps = true;

  ATTNRT_DEVICE void begin(const AttendParams& params, const DeviceUnit& unit, int32_t first,
                           int32_t last) {
    const DeviceRun* runs = params.runs + unit.run_begin;
    const DeviceRun* end = params.runs + unit.run_end;
    const DeviceRun* from = run_after(runs, end, first);
    ahead_.begin(from, end, first, last);
    next_ = ahead_;
    const int32_t visited = blocks_before(runs, end, last + 1) - blocks_before(runs, end, first);
    count_ = visited > 0 ? visited : 0;
  }
  [[nodiscard]] ATTNRT_DEVICE int32_t count() const { return count_; }

  ATTNRT_DEVICE int32_t now(int32_t i) {
    begins_ = i == 0 || next_.block() / kSplitBlocks != now_ / kSplitBlocks;
    now_ = next_.block();
    undecided_ = next_.undecided();
    next_.move();
    return now_;
  }
  ATTNRT_DEVICE int32_t ahead(int32_t) {
    const int32_t block = ahead_.block();
    ahead_.move();
    return block;
  }
  [[nodiscard]] ATTNRT_DEVICE bool begins_split(int32_t) const { return begins_; }
  [[nodiscard]] ATTNRT_DEVICE bool ends_split(int32_t i) const {
    return i + 1 == count_ || next_.block() / kSplitBlocks != now_ / kSplitBlocks;
  }
  [[nodiscard]] ATTNRT_DEVICE bool undecided() const { return undecided_; }

 private:
  /// The first run that ends after `block`.
  static ATTNRT_DEVICE const DeviceRun* run_after(const DeviceRun* runs, const DeviceRun* end,
                                                  int32_t block) {
    while (runs < end) {
      const DeviceRun* middle = runs + (end - runs) / 2;
      if (device::load(&middle->end) > block) {
        end = middle;
      } else {
        runs = middle + 1;
      }
    }
    return runs;
  }

  /// Blocks of the runs that stand before `block`.
  static ATTNRT_DEVICE int32_t blocks_before(const DeviceRun* runs, const DeviceRun* end,
                                             int32_t block) {
    if (runs == end) return 0;
    const DeviceRun* at = run_after(runs, end, block);
    if (at == end) {
      const DeviceRun last = device::load(end - 1);
      return last.before + last.end - last.begin;
    }
    const DeviceRun run = device::load(at);
    return run.before + (block > run.begin ? block - run.begin : 0);
  }

  RunCursor next_;   // after the one that is computed
  RunCursor ahead_;  // whose sources are looked up
  int32_t now_ = 0;
  int32_t count_ = 0;
  bool begins_ = false;
  bool undecided_ = false;
};

}  // namespace attnrt::cuda
