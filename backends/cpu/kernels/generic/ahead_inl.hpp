// SPDX-License-Identifier: Apache-2.0
// Asking for the next block while this one is worked on. Hardware prefetchers follow neither pages
// nor heads. Lines are asked for one by one all along the work (in one go they fill the miss
// buffers, and the work waits for them), four
// places side by side, so that several DRAM pages are open at a time, and into L2: in L1 they would
// push out what is being read.
#pragma once

#include "backends/cpu/kernels/generic/lines_inl.hpp"

namespace attnrt::cpu {
namespace {

// Where K or V of the next block lies: `count` places of `bytes` each.
struct AheadPlaces {
  const char* const* places;
  int32_t count;
  int64_t offset;  // bytes from each place to the head that is next
  int64_t bytes;
};

class Ahead {
 public:
  void start(const AheadPlaces& next) {
    next_ = next;
    index_ = 0;
    turn();
  }
  void stop() {
    next_.count = 0;
    index_ = 0;
    turn();
  }

  // Asks for kCount (1, 2, 4) lines, of as many of the four places whose turn it is.
  template <int kCount>
  [[gnu::always_inline]] void lines() {
    if (at_ >= end_) return;
    for (int i = 0; i < kCount; ++i) __builtin_prefetch(turn_[i] + at_, 0, 2);
    if constexpr (kCount == 4) {
      at_ += 64;
    } else {
      const char* first[4] = {turn_[0], turn_[1], turn_[2], turn_[3]};
      for (int i = 0; i < 4; ++i) turn_[i] = first[(i + kCount) % 4];
      phase_ = (phase_ + kCount) % 4;
      if (phase_ == 0) at_ += 64;
    }
    if (at_ >= end_) turn();
  }

  // So many lines have been packed.
  template <int kCount>
  [[gnu::always_inline]] void packed() {
    lines<4>();
  }

 private:
  // The next four places; the last one again where fewer are left.
  [[gnu::noinline]] void turn() {
    at_ = 0;
    phase_ = 0;
    end_ = index_ < next_.count ? next_.bytes : 0;
    if (end_ == 0) return;
    for (auto& place : turn_) {
      place = next_.places[index_ < next_.count ? index_ : next_.count - 1] + next_.offset;
      ++index_;
    }
  }

  const char* turn_[4] = {};
  int64_t at_ = 0;
  int64_t end_ = 0;
  int32_t phase_ = 0;
  int32_t index_ = 0;
  AheadPlaces next_{};
};

// Lines that follow one another in memory.
struct LineRun {
  const char* begin;
  const char* end;
};

// In step with the products instead of a head ahead: V while K is multiplied, the next head's K
// while V is, into L1, in the order of their addresses, so that hardware prefetchers follow. Zen 5,
// one thread, cold, group 4, GB/s with pages of 16 / 256 (reading linearly: 43): nothing 27 / 21,
// lines asked for once 23 / 26, with fences 29 / 33, and asked for twice 32 / 34. What is in L2
// already pays for the fences: 41 instead of 71.
//
// Row-major pages are asked for a block ahead, whole tokens in the order of their addresses. Group
// 4, NHD pages of 16 / 64, 8 heads, 4,096 keys, GB/s: next head's rows by Ahead 15.3 / 16.8, by
// this one 14.2 / 17.3, the next block's 20.1 / 21.3, with fences 16.0 / 17.4; half the heads of a
// token lose by it.
class AheadClose {
 public:
  // Runs end with an empty one. Lines are asked for in `first`, and again `again` behind it, for
  // those that found all miss buffers taken; once and without fences where `work`, the vectors that
  // are multiplied or widened for 64 bytes, is more than loads run ahead of.
  void start(const LineRun* first, const LineRun* again, int32_t work) {
    first_ = {first, first->begin};
    again_ = {again, again->begin};
    if (work > kTwiceWork) again_.at = nullptr;
    fenced_ = work <= kFencedWork ? kFencedLines : kNoLines;
    asked_ = 0;
  }
  void start(const LineRun* first) { start(first, first, kNoLines); }

  // Of 64 bytes so many lines of tiles are read: all tiles of a block ask for their share. Group
  // 16, GB/s with pages of 16 / 256: nothing 16.0 / 13.3, the first of three tiles alone 16.7 /
  // 17.4, all 20.4 / 21.4. `rows` ask for some, too, while they are weighed.
  void share(int32_t lines, int32_t rows) {
    share_ = lines * (kBlockLines + kRowLines * rows) / kPart;
    read_ = 0;
  }

  template <int kCount>
  [[gnu::always_inline]] void lines() {
    constexpr int32_t kAtOnce = kCount < 2 ? 2 : kCount > 8 ? 8 : kCount;
    read_ += kCount * (kBlockLines / kPart);
    if (read_ < kAtOnce * share_) return;
    read_ -= kAtOnce * share_;
    first_.template ask<kAtOnce>();
    again_.template ask<kAtOnce>();
    asked_ += kAtOnce;
    // Loads that run far ahead of the products take the buffers from the prefetches.
    if (asked_ >= fenced_) {
      asked_ = 0;
      fence();
    }
  }

  // A row is about to be weighed.
  void row() {
    first_.template ask<kRowLines>();
    again_.template ask<kRowLines>();
  }

  // So many lines have been packed.
  template <int kCount>
  [[gnu::always_inline]] void packed() {
    lines<kCount>();
  }

 private:
  struct Cursor {
    const LineRun* run;
    const char* at;
    template <int kCount>
    [[gnu::always_inline]] void ask() {
      if (at == nullptr) return;
      for (int i = 0; i < kCount; ++i) __builtin_prefetch(at + int64_t{64} * i, 0, 3);
      at += int64_t{64} * kCount;
      if (at >= run->end) at = (++run)->begin;
    }
  };

  // Of a block of 128 keys, 128 dims, 16 bits; and of a row's softmax: 4, 8, 16 lines group 4 33.7,
  // 34.5, 34.8 GB/s (none 33.1), group 8 33.0, 34.2, 34.3 (30.7), group 16 22.9, 22.8, 20.7 (22.4);
  // without asking less in the products: 33.3 with 8, group 8 32.2.
  static constexpr int32_t kBlockLines = 1024;
  static constexpr int32_t kRowLines = 8;
  static constexpr int32_t kPart = 16;  // units of share_: 16 lines

  // Pages of 16 / 256, asked for once, GB/s: 4 lines 21 / 22, 8 30 / 32, 16 29 / 33, 32 19 / 24.
  static constexpr int32_t kFencedLines = 16;
  static constexpr int32_t kNoLines = 1 << 30;
  // One thread, pages of 16, GB/s with fences each 16 lines, each 32, without: work of
  // 1 34.1, 28.1, 25.7; 4 31.3, 29.1, 25.7; 6 29.2, 30.0, 27.2; 7 25.4, 29.0, 31.1;
  // 8 24.4, 28.1, 30.9.
  static constexpr int32_t kFencedWork = 6;
  // Without fences, asked for once and twice: 8 28.1, 30.9; 10 28.5, 32.5; 12 30.6, 30.0; 16 20.4,
  // 20.0.
  static constexpr int32_t kTwiceWork = 10;

  [[gnu::always_inline]] static void fence() {
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("lfence");
#endif
  }

  Cursor first_{}, again_{};
  int32_t fenced_ = 0, asked_ = 0;
  int32_t share_ = kBlockLines / kPart, read_ = 0;
};

struct NoAhead {
  template <int kCount>
  void lines() {}
};

// Lines from the one that is read to the one that is pulled to L1, from L2 where Ahead put it
// there. Zen 5, group 4: 24 lines 25.4 GB/s, 12 lines 23.9, none 18.
constexpr int64_t kLinesToL1 = 24;

}  // namespace
}  // namespace attnrt::cpu
