// SPDX-License-Identifier: Apache-2.0
// Where the time of calls goes, for AttendStats.
#pragma once

#include <chrono>
#include <cstdint>

namespace attnrt::cpu {

/// Adds the time between its making and its end to a worker's sum; does nothing without one.
class Stopwatch {
 public:
  explicit Stopwatch(int64_t* sum_ns) : sum_ns_(sum_ns) {
    if (sum_ns_ != nullptr) begin_ = std::chrono::steady_clock::now();
  }
  ~Stopwatch() {
    if (sum_ns_ == nullptr) return;
    *sum_ns_ += std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin_).count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  int64_t* sum_ns_;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace attnrt::cpu
