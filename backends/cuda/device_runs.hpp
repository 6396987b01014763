// SPDX-License-Identifier: Apache-2.0
// The runs of a tile in blocks of 64 keys, as kernels visit them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cuda/kernels/params.hpp"
#include "src/plan_data.hpp"

namespace attnrt::cuda {

/// Gathers neighbours of one kind.
template <class Write>
class RunGatherer {
 public:
  explicit RunGatherer(const Write& write) : write_(write) {}

  void add(int32_t begin, int32_t end, bool undecided) {
    begin = std::max(begin, run_.end);  // a block that two runs share is there, undecided
    if (begin >= end) return;
    const bool empty = run_.begin == run_.end;
    if (!empty && run_.end == begin && (run_.undecided != 0) == undecided) {
      run_.end = end;
      return;
    }
    finish();
    run_ = {begin, end, run_.before + run_.end - run_.begin, undecided ? 1 : 0};
  }
  void finish() {
    if (run_.begin < run_.end) write_(run_);
  }

 private:
  const Write& write_;
  DeviceRun run_{};
};

/// Calls write(const DeviceRun&) for each, in order. A block that a run takes a part of is
/// undecided: the mask is asked for all of its keys.
template <class Write>
void device_runs(const PlanData& plan, const PlanTile& tile, const Write& write) {
  const int32_t kv_len = plan.sequences[static_cast<size_t>(tile.seq)].kv_len;
  RunGatherer<Write> runs(write);
  for (const expr::MaskRun& run : plan.runs_of(tile)) {
    int32_t begin = run.key_begin / kBlockKeys;
    const int32_t end = (run.key_end + kBlockKeys - 1) / kBlockKeys;
    const bool ends_inside = run.key_end % kBlockKeys != 0 && run.key_end != kv_len;
    const bool undecided = run.undecided != 0;
    if (run.key_begin % kBlockKeys != 0) {
      runs.add(begin, begin + 1, true);
      ++begin;
    }
    if (begin < end) runs.add(begin, end - (ends_inside ? 1 : 0), undecided);
    if (begin < end && ends_inside) runs.add(end - 1, end, true);
  }
  runs.finish();
}

}  // namespace attnrt::cuda
