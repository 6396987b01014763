// SPDX-License-Identifier: Apache-2.0
// Merging: one warp for each row, states in ascending order, by the operations of state.cuh.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/elements.cuh"
#include "backends/cuda/kernels/params.hpp"
#include "backends/cuda/kernels/state.cuh"

namespace attnrt::cuda {

inline constexpr uint32_t kMergeThreads = 128;
inline constexpr uint32_t kMergeWarps = kMergeThreads / 32;

/// A lane has columns 2 lane, 2 lane + 1 and every 64th pair after: up to 256 in all.
class MergedRow {
 public:
  ATTNRT_DEVICE void add(RowState state, const float* acc, int32_t dim) {
    if (state.is_empty()) return;
    const FoldWeights w = state_.fold(state);
    ATTNRT_UNROLL
    for (int32_t i = 0; i < kEach; ++i) {
      const int32_t d = column(i);
      if (d < dim) acc_[i] = fold(acc_[i], device::load(acc + d), w);
    }
  }

  ATTNRT_DEVICE void add_finished(float lse, const void* out, int64_t first, Element element,
                                  int32_t dim) {
    if (lse == -device::infinity()) return;
    const FoldWeights w = state_.fold({lse, 1.0f});
    ATTNRT_UNROLL
    for (int32_t i = 0; i < kEach; ++i) {
      const int32_t d = column(i);
      if (d < dim) acc_[i] = fold(acc_[i], load_element(element, out, first + d), w);
    }
  }

  ATTNRT_DEVICE void store(const OutputParams& output, int64_t row, uint32_t head) const {
    const RowResult result = finish_row(state_, output.sinks, head);
    if (device::lane_index() == 0) store_lse(output, row, head, result.lse);
    const int64_t first = row * output.token_stride + head * output.head_stride;
    ATTNRT_UNROLL
    for (int32_t i = 0; i < kEach; i += 2) {
      const float a = result.empty ? 0.0f : device::mul(acc_[i], result.scale);
      const float b = result.empty ? 0.0f : device::mul(acc_[i + 1], result.scale);
      store_pair(output, first, column(i), a, b);
    }
  }

 private:
  static constexpr int32_t kEach = 8;
  static ATTNRT_DEVICE int32_t column(int32_t i) {
    return i / 2 * 64 + static_cast<int32_t>(device::lane_index()) * 2 + i % 2;
  }

  RowState state_ = RowState::empty();
  float acc_[kEach] = {};
};

/// Block (rows, tile): the states of a plan's tiles, or of all rows of several PartialViews.
ATTNRT_DEVICE void merge_states_block(const MergeParams& params) {
  const OutputParams& output = params.output;
  const auto heads = static_cast<uint32_t>(output.heads_q);
  DeviceMerge tile = {0, output.total_q, 0, 0, 0, output.heads_q, 0};
  const bool planned = params.tiles != nullptr;
  if (planned) tile = device::load(params.tiles + device::block_y());
  const int64_t at = int64_t{device::block_x()} * kMergeWarps + device::thread_index() / 32;
  const int64_t rows = int64_t{tile.tokens} * heads;
  const auto head = static_cast<int32_t>(at % heads);
  if (at >= rows || head < tile.head_begin || head >= tile.head_end) return;
  MergedRow merged;
  for (int32_t i = 0; i < params.num_sources; ++i) {
    const StateParams& source = params.sources[i];
    const int32_t splits = planned ? tile.num_splits : params.num_splits[i];
    for (int32_t split = 0; split < splits; ++split) {
      const int64_t state = tile.state_token * heads + split * rows + at;
      merged.add({device::load(source.ref + state), device::load(source.sum + state)},
                 source.acc + state * output.head_dim_v, output.head_dim_v);
    }
  }
  merged.store(output, tile.first_row + at / heads, static_cast<uint32_t>(head));
}

/// Block (rows): finished results.
ATTNRT_DEVICE void merge_finished_block(const MergeFinishedParams& params) {
  const OutputParams& output = params.output;
  const auto heads = static_cast<uint32_t>(output.heads_q);
  const int64_t at = int64_t{device::block_x()} * kMergeWarps + device::thread_index() / 32;
  if (at >= int64_t{output.total_q} * heads) return;
  const int64_t row = at / heads;
  const auto head = static_cast<uint32_t>(at % heads);
  MergedRow merged;
  for (int32_t i = 0; i < params.num_sources; ++i) {
    const MergeFinishedParams::Source& source = params.sources[i];
    const float lse = device::load(source.lse + int64_t{head} * output.total_q + row);
    merged.add_finished(lse, source.out, row * source.token_stride + head * source.head_stride,
                        source.element, output.head_dim_v);
  }
  merged.store(output, row, head);
}

/// The neutral state everywhere, one row for each warp: for splits that no block of attend reaches.
ATTNRT_DEVICE void clear_states_block(const StateParams& states, int64_t count, int32_t dim) {
  const int64_t at = int64_t{device::block_x()} * kMergeWarps + device::thread_index() / 32;
  if (at >= count) return;
  for (auto d = static_cast<int32_t>(device::lane_index()); d < dim; d += 32) {
    device::store(states.acc + at * dim + d, 0.0f);
  }
  if (device::lane_index() != 0) return;
  device::store(states.ref + at, -device::infinity());
  device::store(states.sum + at, 0.0f);
}

}  // namespace attnrt::cuda
