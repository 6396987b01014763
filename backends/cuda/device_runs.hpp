// SPDX-License-Identifier: Apache-2.0
// The runs of a tile in blocks of 64 keys, as kernels visit them.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/params.hpp"
#include "src/plan_data.hpp"

namespace attnrt::cuda {

/// Gathers neighbours of one kind; blocks that two runs share, and those that a run takes a part
/// of, are undecided: the mask is asked for all of their keys.
template <class Write>
class RunGatherer {
 public:
  explicit RunGatherer(const Write& write) : write_(write) {}

  void add(int32_t begin, int32_t end, bool undecided) {
    if (begin < run_.end) {
      put(run_.end - 1, run_.end, /*undecided=*/true);
      begin = run_.end;
    }
    if (begin < end) put(begin, end, undecided);
  }
  void finish() {
    if (run_.begin < run_.end) write_(run_);
  }

 private:
  // A block at the end of the run so far may change its kind.
  void put(int32_t begin, int32_t end, bool undecided) {
    const bool same = (run_.undecided != 0) == undecided;
    if (begin < run_.end) {
      if (same) return;
      run_.end = begin;
    }
    if (run_.begin < run_.end && same && run_.end == begin) {
      run_.end = end;
      return;
    }
    finish();
    const int32_t before = run_.before + run_.end - run_.begin;
    run_ = {begin, end, before, undecided ? 1 : 0};
  }

  const Write& write_;
  DeviceRun run_{};
};

/// Calls write(const DeviceRun&) for each, in order.
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
