// SPDX-License-Identifier: Apache-2.0
// Asking for the next block while this one is worked on. Hardware prefetchers follow neither pages
// nor heads. Lines are asked for one by one all along the work (in one go they fill the miss
// buffers, and the work waits for them), turn about over the pieces of the block, so that several
// DRAM pages are open at a time, and into L2: in L1 they would push out what is being read.
#pragma once

#include "backends/cpu/kernels/generic/lines_inl.hpp"

namespace attnrt::cpu {
namespace {

// Where something of the next block lies: `count` places of `bytes` each.
struct AheadPlaces {
  const char* const* places;
  int32_t count;
  int64_t offset;  // bytes from each place to the head that is next
  int64_t bytes;
};

class Ahead {
 public:
  // Bytes asked for at one place before the next one's turn.
  explicit Ahead(int64_t turn_bytes) : turn_bytes_(turn_bytes) {}

  void start(const AheadPlaces& next) {
    next_ = next;
    index_ = 0;
    at_ = 0;
    end_ = next.count > 0 ? next.bytes : 0;
  }
  void stop() { end_ = 0; }

  void line() {
    if (at_ >= end_) return;
    const char* from = next_.places[index_] + next_.offset + at_;
    for (int64_t i = 0; i < turn_bytes_; i += 64) __builtin_prefetch(from + i, 0, 2);
    if (++index_ < next_.count) return;
    index_ = 0;
    at_ += turn_bytes_;
  }

 private:
  AheadPlaces next_{};
  int64_t turn_bytes_;
  int32_t index_ = 0;
  int64_t at_ = 0;
  int64_t end_ = 0;
};

struct NoAhead {
  void line() {}
};

// Pulls a line that Ahead brought to L2 into L1, a dozen steps before it is read.
constexpr int64_t kLinesToL1 = 12;

}  // namespace
}  // namespace attnrt::cpu
