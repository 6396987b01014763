// SPDX-License-Identifier: Apache-2.0
// How well a plan would keep many threads busy, without having them: the CPU backend's own cut,
// taken greedily by threads that are exactly as fast as the scheduler's cost model says.
#pragma once

#include <cstdint>

#include "attnrt/attention.hpp"

namespace attnrt::perf {

/// One call of attend on simulated threads. Costs in rows x keys, see attend_cost.
struct SimulatedCall {
  int32_t workers = 0;     // a short call wakes only as many threads as have work enough
  int64_t items = 0;       // of the plan
  int64_t units = 0;       // that the executor makes of them for this number of threads
  int64_t pieces = 0;      // splits of tiles x KV heads: the least that an item may be
  double cost = 0.0;       // of all units and merges
  double item_cost = 0.0;  // of the items, had they not been cut by rows
  double merge_cost = 0.0;
  double largest_cost = 0.0;  // of a thread

  /// The time of the call over what it would be if no thread ever waited; 1 is perfect.
  [[nodiscard]] double balance() const noexcept {
    return cost > 0.0 ? largest_cost * workers / cost : 1.0;
  }
  /// What reading keys again for every piece of a tile's rows costs.
  [[nodiscard]] double cut_percent() const noexcept {
    return item_cost > 0.0 ? 100.0 * ((cost - merge_cost) / item_cost - 1.0) : 0.0;
  }
  [[nodiscard]] double merge_percent() const noexcept {
    return cost > 0.0 ? 100.0 * merge_cost / cost : 0.0;
  }
};

SimulatedCall simulate_call(const Plan& plan, int32_t threads);

}  // namespace attnrt::perf
