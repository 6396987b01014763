// SPDX-License-Identifier: Apache-2.0
// What is parallel over independent units: a shared counter, and scratch memory of each worker.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/cpu/parallel.hpp"

namespace attnrt::cpu {

/// A team and the scratch memory that its workers keep between calls.
class UnitRunner {
 public:
  explicit UnitRunner(int32_t num_threads) : team(num_threads) {}

  /// Calls body(unit, scratch) for each unit in [0, units), in any order, on as many workers as
  /// there are. scratch holds `floats` floats, 64-byte aligned.
  template <class Body>
  void for_each_unit(int64_t units, int64_t floats, const Body& body) {
    constexpr int64_t kFloatsPerLine = 16;
    const auto workers = static_cast<int32_t>(std::min<int64_t>(team.size(), units));
    const int64_t each = (floats + kFloatsPerLine - 1) / kFloatsPerLine * kFloatsPerLine;
    lines_.resize(static_cast<size_t>(each / kFloatsPerLine * workers));
    std::atomic<int64_t> next{0};
    team.run(workers, [&](int32_t worker) {
      float* scratch = lines_.empty() ? nullptr : lines_.data()->floats + each * worker;
      for (;;) {
        const int64_t unit = next.fetch_add(1, std::memory_order_relaxed);
        if (unit >= units) return;
        body(unit, scratch);
      }
    });
  }

  WorkerTeam team;

 private:
  struct alignas(64) Line {
    float floats[16];
  };
  std::vector<Line> lines_;
};

}  // namespace attnrt::cpu
