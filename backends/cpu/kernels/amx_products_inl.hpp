// SPDX-License-Identifier: Apache-2.0
// AMX as the generic kernel uses it: what it asks of a block of keys, of the rows of a tile, and
// what it leaves where.
#pragma once

#include "backends/cpu/kernels/amx_tile_inl.hpp"
#include "backends/cpu/kernels/generic/attend_inl.hpp"

namespace attnrt::cpu {
namespace {

// Lines of packed16 whose products are taken a tile at a time.
struct AmxDot : Bf16Dot {};

template <>
struct UnpairedOf<AmxDot> {
  using Type = Bf16Lines;
};

template <class Lines>
class AmxProducts {
 public:
  static constexpr bool kPresent = true;
  static constexpr bool kWholeBlocks = false;
  static constexpr int32_t kWeighKeys = kAmxSteps;

  // key_room and value_room: 1 KiB for each piece of a block, and for each 32 keys by 16 dims.
  AmxProducts(const AttendTask&, int32_t rows, int64_t dim, int64_t dim_v, float* key_room,
              float* value_room)
      : shapes_(rows),
        steps_(static_cast<int32_t>((dim + kAmxSteps - 1) / kAmxSteps)),
        complete_keys_(dim % kAmxSteps != 0),
        columns_(static_cast<int32_t>(dim_v / kLineColumns)),
        key_room_(reinterpret_cast<uint16_t*>(key_room)),
        value_room_(reinterpret_cast<uint16_t*>(value_room)) {
    shapes_.load();
  }
  ~AmxProducts() { tile_release(); }
  AmxProducts(const AmxProducts&) = delete;
  AmxProducts& operator=(const AmxProducts&) = delete;

  // Pairs of dims from one row of q to the next.
  [[nodiscard]] int64_t query_operands() const { return int64_t{steps_} * kAmxSteps / 2; }

  // Row i of a tile of `height` rows; q holds `dim` values that bf16 can hold.
  void put_query(const float* q, int64_t dim, int32_t i, int32_t height, uint32_t* tile) const {
    auto* to = reinterpret_cast<uint16_t*>(tile);
    const AmxQueries queries{to, height, steps_};
    for (int32_t step = 0; step < steps_; ++step) {
      uint16_t* row = to + (queries.tile(i / kAmxRows, step) - to) + i % kAmxRows * kAmxSteps;
      for (int32_t d = 0; d < kAmxSteps; ++d) {
        const int64_t at = int64_t{step} * kAmxSteps + d;
        row[d] = at < dim ? narrow(Bf16{}, q[at]) : uint16_t{0};
      }
    }
  }

  // Keys [first, last) of the block are the task's.
  void begin_block(const KvBlock<Lines>& block, int32_t first, int32_t last) {
    block_ = &block;
    first_ = first;
    last_ = last;
    for (int32_t i = first / kLineColumns; complete_keys_ && i * kLineColumns < last; ++i) {
      complete_key_tile(block.k[i], steps_, key_room_ + i * kAmxTileElements);
    }
    for (int32_t s = first / kAmxSteps; s * kAmxSteps < last; ++s) {
      const int32_t low = first - s * kAmxSteps;
      const int32_t high = last - s * kAmxSteps;
      const bool whole = low <= 0 && high >= kAmxSteps &&
                         block.v[2 * s + 1] == block.v[2 * s] + kAmxTileElements / 2;
      if (whole) {
        values_[s] = {block.v[2 * s], block.v_stride};
        continue;
      }
      uint16_t* room = value_room_ + s * columns_ * kAmxTileElements;
      for (int32_t column = 0; column < columns_; ++column) {
        complete_values(s, column, low, high, room + column * kAmxTileElements);
      }
      values_[s] = {room, kAmxTileElements};
    }
  }

  // Scores of `height` rows against pieces [first, last).
  template <class AheadT>
  void scores(const uint32_t* q, int32_t height, int32_t first, int32_t last, float* scores,
              AheadT& ahead) const {
    const AmxQueries queries{reinterpret_cast<const uint16_t*>(q), height, steps_};
    const AmxKeys keys{block_->k, complete_keys_ ? key_room_ : nullptr};
    amx_scores(shapes_, queries, keys, {scores, first, last}, ahead);
  }

  // acc += P * V over the groups of 32 keys that [first, last) meets, where p must be 0 for all
  // keys that do not count, and V of the task's keys among them finite.
  template <class AheadT>
  void values(const uint32_t* p, int32_t height, int32_t first, int32_t last, float* acc,
              AheadT& ahead) const {
    const AmxWeights weights{reinterpret_cast<const uint16_t*>(p), values_, first / kAmxSteps,
                             (last + kAmxSteps - 1) / kAmxSteps};
    const AmxAcc sums{acc, int64_t{columns_} * kLineColumns, columns_};
    amx_values(shapes_, height, weights, sums, ahead);
  }

  // The task's keys in the groups of 32 that [first, last) meets.
  [[nodiscard]] int32_t groups_begin(int32_t first) const {
    const int32_t begin = first / kAmxSteps * kAmxSteps;
    return begin > first_ ? begin : first_;
  }
  [[nodiscard]] int32_t groups_end(int32_t last) const {
    const int32_t end = (last + kAmxSteps - 1) / kAmxSteps * kAmxSteps;
    return end < last_ ? end : last_;
  }

  // The same as `values` for row `row` of the tile alone, over some keys whatever V of others is.
  // Slow: every row has tiles of V of its own. Zeros change no bit of a chain, so its keys may come
  // in several goes.
  void values_of_row(const uint32_t* p, int32_t row, const uint64_t* lanes, float* acc) const {
    for_lane_runs(lanes, 0, kBlockKeys,
                  [&](int32_t first, int32_t last) { values_of_keys(p, row, first, last, acc); });
  }

 private:
  void values_of_keys(const uint32_t* p, int32_t row, int32_t first, int32_t last,
                      float* acc) const {
    const int32_t row_tile = row / kAmxRows;
    const int64_t stride = int64_t{columns_} * kLineColumns;
    alignas(64) uint16_t tiles[kAmxGroups * kAmxTileElements];
    alignas(64) float sums[kAmxRows * kLineColumns] = {};
    AmxValues values[kAmxGroups];
    for (int32_t s = 0; s < kAmxGroups; ++s) values[s] = {tiles + s * kAmxTileElements, 0};
    const AmxWeights weights{
        reinterpret_cast<const uint16_t*>(p) + row_tile * kAmxRows * kBlockKeys * 2, values,
        first / kAmxSteps, (last + kAmxSteps - 1) / kAmxSteps};
    const int32_t in_tile = row % kAmxRows;
    NoAhead none;
    for (int32_t column = 0; column < columns_; ++column) {
      for (int32_t s = weights.first; s < weights.last; ++s) {
        complete_values(s, column, first - s * kAmxSteps, last - s * kAmxSteps,
                        tiles + s * kAmxTileElements);
      }
      float* at = acc + row * stride + column * kLineColumns;
      const AmxSums all{sums, kLineColumns};
      copy_block(at, stride, 1, kLineColumns, sums + in_tile * kLineColumns, kLineColumns);
      amx_value_tile<1, 1>(weights, 0, &all, none);
      copy_block(sums + in_tile * kLineColumns, kLineColumns, 1, kLineColumns, at, stride);
    }
  }

  void complete_values(int32_t group, int32_t column, int32_t first, int32_t last,
                       uint16_t* to) const {
    const uint16_t* pieces[2];
    for (int i = 0; i < 2; ++i) {
      const bool wanted = first < (i + 1) * kLineColumns && last > i * kLineColumns;
      pieces[i] = wanted ? block_->v[2 * group + i] + column * block_->v_stride : nullptr;
    }
    complete_value_tile(pieces, first, last, to);
  }

  const AmxShapes shapes_;
  const int32_t steps_;
  const bool complete_keys_;
  const int32_t columns_;
  uint16_t* key_room_;
  uint16_t* value_room_;
  const KvBlock<Lines>* block_ = nullptr;
  int32_t first_ = 0;
  int32_t last_ = 0;
  AmxValues values_[kAmxGroups] = {};
};

template <>
class MatrixProducts<AmxDot> : public AmxProducts<AmxDot> {
  using AmxProducts::AmxProducts;
};

}  // namespace
}  // namespace attnrt::cpu
