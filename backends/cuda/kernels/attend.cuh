// SPDX-License-Identifier: Apache-2.0
// Attention of up to kRows rows over consecutive splits of one sequence and KV head, by one block
// of threads. Tiles of K and V pass through a ring in shared memory, K and V of a block of 64 keys
// one after the other. Each split of 512 keys begins with an empty softmax state; states are folded
// in ascending order, or stored for a merge kernel that does the same.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/expression.cuh"
#include "backends/cuda/kernels/finite.cuh"
#include "backends/cuda/kernels/key_blocks.cuh"
#include "backends/cuda/kernels/params.hpp"
#include "backends/cuda/kernels/rows.cuh"
#include "backends/cuda/kernels/shape.hpp"
#include "backends/cuda/kernels/softmax.cuh"
#include "backends/cuda/kernels/sources.cuh"
#include "backends/cuda/kernels/state.cuh"

namespace attnrt::cuda {

/// Threads come as block (unit, KV head), or (unit * KV heads + KV head) with kHeadsTogether.
template <class T, class Shape, class Expression = NoExpression>
class AttendBlock {
 public:
  explicit ATTNRT_DEVICE AttendBlock(const AttendParams& params,
                                     const Expression& expression = Expression())
      : params_(params),
        unit_(device::load(params.units + unit_number(params))),
        sequence_(sequence_of(params, unit_.seq)),
        kv_head_(kv_head_number(params, unit_)),
        lane_(device::lane_index()),
        row_warp_(device::thread_index() / 32 % Shape::kRowWarps),
        key_warp_(device::thread_index() / 32 / Shape::kRowWarps),
        rows_(params, unit_, sequence_, kv_head_),
        softmax_(params, rows_, row_warp_, key_warp_, expression) {}

  ATTNRT_DEVICE void run() {
    const int32_t first = rows_.key_begin / kBlockKeys;
    const int32_t last =
        rows_.key_begin < rows_.key_end ? (rows_.key_end - 1) / kBlockKeys : first - 1;
    blocks_.begin(params_, unit_, first, last);
    num_blocks_ = blocks_.count();
    int32_t unseen_split = unit_.split_begin;
    if constexpr (!Blocks::kHasGaps) {
      clear_unseen_splits(first / kSplitBlocks, last < first ? 0 : last / kSplitBlocks + 1);
    }
    if (num_blocks_ > 0) {
      begin_copies();
      for (int32_t i = 0; i < num_blocks_; ++i) {
        const int32_t block = blocks_.now(i);
        if (blocks_.begins_split(i)) begin_split();
        next_tile(2 * i);
        note_sources(i);
        softmax_.set_undecided(blocks_.undecided());
        // What a warp's rows cannot see changes nothing, so it is left out.
        const bool active = softmax_.sees_some(block * kBlockKeys);
        RowPair rescale = {1.0f, 1.0f};
        if (active) {
          scores(i);
          rescale = softmax_.weigh(rows_, scores_, block * kBlockKeys, weights_base());
        }
        next_tile(2 * i + 1);
        if (active) scale_values(rescale);
        add_non_finite_values(i, block * kBlockKeys);
        if (active) add_values(i);
        if (!blocks_.ends_split(i)) continue;
        end_split(block / kSplitBlocks);
        if constexpr (Blocks::kHasGaps) {
          clear_splits(unseen_split, block / kSplitBlocks);
          unseen_split = block / kSplitBlocks + 1;
        }
      }
    }
    if constexpr (Blocks::kHasGaps) clear_splits(unseen_split, unit_.split_end);
    if (!stores_states()) store_results();
  }

 private:
  using Blocks = KeyBlocks<Expression::kMask>;
  static constexpr int kKeyTiles = Shape::kKeyTiles;
  static constexpr int kColumnTiles = Shape::kColumnTiles;

  static ATTNRT_DEVICE uint32_t unit_number(const AttendParams& params) {
    return Shape::kHeadsTogether ? device::block_x() / params.heads_kv : device::block_x();
  }
  static ATTNRT_DEVICE uint32_t kv_head_number(const AttendParams& params, const DeviceUnit& unit) {
    const uint32_t number =
        Shape::kHeadsTogether ? device::block_x() % params.heads_kv : device::block_y();
    if constexpr (Expression::kMask) return static_cast<uint32_t>(unit.kv_head_begin) + number;
    return number;
  }

  [[nodiscard]] ATTNRT_DEVICE uint32_t weights_base() const {
    return device::shared_base() + Shape::kWeights;
  }
  [[nodiscard]] ATTNRT_DEVICE uint32_t sources_of(int32_t i) const {
    return device::shared_base() + Shape::kSources + static_cast<uint32_t>(i % 4) * kBlockKeys * 8;
  }
  [[nodiscard]] ATTNRT_DEVICE uint32_t tile_at(int32_t tile) const {
    return device::shared_base() + Shape::kTiles +
           static_cast<uint32_t>(tile % Shape::kSlots) * Shape::kTileBytes;
  }
  [[nodiscard]] ATTNRT_DEVICE KeyPlaces places() const {
    return {params_.pages + sequence_.first_page, sequence_.first_slot, params_.page_size,
            rows_.key_begin, rows_.key_end};
  }
  /// Key of a block whose source this thread looks up.
  [[nodiscard]] ATTNRT_DEVICE int32_t my_key(int32_t block) const {
    return block * kBlockKeys + static_cast<int32_t>(device::thread_index() % kBlockKeys);
  }

  // Query rows, the sources of the first two blocks, and all tiles of the ring but one.
  ATTNRT_DEVICE void begin_copies() {
    const uint32_t t = device::thread_index();
    const int32_t blocks[3] = {blocks_.ahead(0), blocks_.ahead(1), blocks_.ahead(2)};
    if (t < 2 * kBlockKeys) {
      const auto i = static_cast<int32_t>(t / kBlockKeys);
      device::shared_store(sources_of(i) + t % kBlockKeys * 8,
                           places().source_of(my_key(i == 0 ? blocks[0] : blocks[1])));
    }
    if (t < kBlockKeys) next_source_ = places().source_of(my_key(blocks[2]));
    rows_.template copy_queries<T, Shape>(params_, device::shared_base() + Shape::kQ);
    device::copy_async_commit();
    device::sync_block();
    for (int32_t tile = 0; tile < Shape::kSlots - 1; ++tile) copy(tile);
  }

  // Tile 2 i is K of block i, tile 2 i + 1 its V. Every call commits a group, so that waiting can
  // count them.
  ATTNRT_DEVICE void copy(int32_t tile) {
    const int32_t i = tile / 2;
    if (i < num_blocks_) {
      const KvParams& kv = tile % 2 == 0 ? params_.k : params_.v;
      const int32_t dim = tile % 2 == 0 ? params_.head_dim : params_.output.head_dim_v;
      copy_tile<Shape>(tile_at(tile), kv, kv.data + kv_head_ * kv.head_stride, sources_of(i), dim,
                       params_.aligned != 0);
    }
    device::copy_async_commit();
  }

  // The tile is there, for all threads; the slot of the tile before it is free, and is filled.
  ATTNRT_DEVICE void next_tile(int32_t tile) {
    device::copy_async_wait<Shape::kSlots - 2>();
    device::sync_block();
    copy(tile + Shape::kSlots - 1);
  }

  // Page ids are read from memory a block before they are written here, and written two blocks
  // before they are used.
  ATTNRT_DEVICE void note_sources(int32_t i) {
    if (device::thread_index() >= kBlockKeys) return;
    device::shared_store(sources_of(i + 2) + device::thread_index() * 8, next_source_);
    next_source_ = places().source_of(my_key(blocks_.ahead(i + 3)));
  }

  ATTNRT_DEVICE void begin_split() {
    softmax_.begin();
    ATTNRT_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      ATTNRT_UNROLL
      for (int j = 0; j < 4; ++j) acc_[n][j] = 0.0f;
    }
  }

  // scores_ = Q K^T, of this warp's rows and keys.
  ATTNRT_DEVICE void scores(int32_t i) {
    ATTNRT_UNROLL
    for (int n = 0; n < kKeyTiles; ++n) {
      ATTNRT_UNROLL
      for (int j = 0; j < 4; ++j) scores_[n][j] = 0.0f;
    }
    const uint32_t q = device::shared_base() + Shape::kQ;
    const uint32_t k = tile_at(2 * i);
    const uint32_t row = row_warp_ * 16 + lane_ % 16;
    const uint32_t key = key_warp_ * (kKeyTiles * 8) + lane_ / 16 * 8 + lane_ % 8;
    ATTNRT_UNROLL
    for (uint32_t step = 0; step < Shape::kDim / 16; ++step) {
      uint32_t a[4];
      device::load_matrix(a, q + swizzled<Shape::kChunks>(row, step * 2 + lane_ / 16));
      ATTNRT_UNROLL
      for (uint32_t n = 0; n < kKeyTiles; n += 2) {
        uint32_t b[4];
        device::load_matrix(b, k + swizzled<Shape::kChunks>(key + n * 8, step * 2 + lane_ / 8 % 2));
        device::mma<T>(scores_[n], a, b[0], b[1]);
        device::mma<T>(scores_[n + 1], a, b[2], b[3]);
      }
    }
  }

  ATTNRT_DEVICE void scale_values(const RowPair& rescale) {
    ATTNRT_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      ATTNRT_UNROLL
      for (int j = 0; j < 4; ++j) {
        acc_[n][j] = device::mul(acc_[n][j], j < 2 ? rescale.upper : rescale.lower);
      }
    }
  }

  // See finite.cuh. All warps take part.
  ATTNRT_DEVICE void add_non_finite_values(int32_t i, int32_t first_key) {
    if (!softmax_.undecided() && !rows_.some_row_misses_a_key(first_key)) return;
    const FiniteTile<T, Shape> tile(tile_at(2 * i + 1), weights_base(), row_warp_, key_warp_);
    if (!tile.has_non_finite()) return;
    softmax_.store_weights(scores_, weights_base());
    tile.add_non_finite(acc_, softmax_, first_key);
  }

  // acc_ += weights * V, of this warp's rows and columns.
  ATTNRT_DEVICE void add_values(int32_t i) {
    const uint32_t v = tile_at(2 * i + 1);
    const uint32_t key = lane_ % 16;
    const uint32_t chunk = key_warp_ * kColumnTiles + lane_ / 16;
    ATTNRT_UNROLL
    for (uint32_t step = 0; step < kBlockKeys / 16; ++step) {
      uint32_t a[4];
      softmax_.load_weights(a, scores_, step, weights_base());
      ATTNRT_UNROLL
      for (uint32_t n = 0; n < kColumnTiles; n += 2) {
        uint32_t b[4];
        device::load_matrix_transposed(b, v + swizzled<Shape::kChunks>(step * 16 + key, chunk + n));
        device::mma<T>(acc_[n], a, b[0], b[1]);
        device::mma<T>(acc_[n + 1], a, b[2], b[3]);
      }
    }
  }

  ATTNRT_DEVICE void end_split(int32_t split) {
    RowState state[2];
    softmax_.finish(state);
    if (stores_states()) {
      store_states(split, state);
      return;
    }
    ATTNRT_UNROLL
    for (int half = 0; half < 2; ++half) {
      if (state[half].is_empty()) continue;
      const FoldWeights w = total_state_[half].fold(state[half]);
      ATTNRT_UNROLL
      for (int n = 0; n < kColumnTiles; ++n) {
        ATTNRT_UNROLL
        for (int j = 2 * half; j < 2 * half + 2; ++j) {
          total_[n][j] = fold(total_[n][j], acc_[n][j], w);
        }
      }
    }
  }

  [[nodiscard]] ATTNRT_DEVICE bool stores_states() const {
    return unit_.stores_states != 0 || params_.callers_states != 0;
  }

  // (split, token, head) as a number.
  [[nodiscard]] ATTNRT_DEVICE int64_t state_at(int32_t split, const Row& row) const {
    const int64_t token =
        params_.callers_states != 0
            ? int64_t{split} * params_.output.total_q + sequence_.q_begin + row.token
            : unit_.state_token + int64_t{split} * unit_.state_stride + row.token -
                  unit_.token_begin;
    return token * params_.output.heads_q + row.head;
  }

  ATTNRT_DEVICE void store_states(int32_t split, const RowState (&state)[2]) {
    const int32_t dim = params_.output.head_dim_v;
    ATTNRT_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      const Row row = rows_.row(params_, row_warp_ * 16 + lane_ / 4 + half * 8);
      if (!row.exists) continue;
      const int64_t at = state_at(split, row);
      if (key_warp_ == 0 && lane_ % 4 == 0) {
        device::store(params_.states.ref + at, state[half].ref);
        device::store(params_.states.sum + at, state[half].sum);
      }
      // What a block of -inf scores left behind counts as nothing.
      const bool empty = state[half].is_empty();
      ATTNRT_UNROLL
      for (int n = 0; n < kColumnTiles; ++n) {
        const int32_t column = column_of(n);
        ATTNRT_UNROLL
        for (int32_t j = 0; j < 2; ++j) {
          if (column + j >= dim) continue;
          device::store(params_.states.acc + at * dim + column + j,
                        empty ? 0.0f : acc_[n][2 * half + static_cast<uint32_t>(j)]);
        }
      }
    }
  }

  // Splits of the unit that none of these rows sees.
  ATTNRT_DEVICE void clear_unseen_splits(int32_t seen_begin, int32_t seen_end) {
    for (int32_t split = unit_.split_begin; split < unit_.split_end; ++split) {
      if (split >= seen_begin && split < seen_end) continue;
      clear_splits(split, split + 1);
    }
  }

  ATTNRT_DEVICE void clear_splits(int32_t begin, int32_t end) {
    if (!stores_states()) return;
    for (int32_t split = begin; split < end; ++split) {
      for (uint32_t r = device::thread_index(); r < Shape::kRows; r += Shape::kThreads) {
        const Row row = rows_.row(params_, r);
        if (!row.exists) continue;
        const int64_t at = state_at(split, row);
        device::store(params_.states.ref + at, -device::infinity());
        device::store(params_.states.sum + at, 0.0f);
      }
    }
  }

  ATTNRT_DEVICE void store_results() {
    const OutputParams& output = params_.output;
    ATTNRT_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      const Row row = rows_.row(params_, row_warp_ * 16 + lane_ / 4 + half * 8);
      if (!row.exists) continue;
      const RowResult result = finish_row(total_state_[half], output.sinks, row.head);
      const int64_t q_row = int64_t{sequence_.q_begin} + row.token;
      if (key_warp_ == 0 && lane_ % 4 == 0) store_lse(output, q_row, row.head, result.lse);
      const int64_t first = q_row * output.token_stride + row.head * output.head_stride;
      ATTNRT_UNROLL
      for (int n = 0; n < kColumnTiles; ++n) {
        const float a = device::mul(total_[n][2 * half], result.scale);
        const float b = device::mul(total_[n][2 * half + 1], result.scale);
        store_pair(output, first, column_of(n), result.empty ? 0.0f : a, result.empty ? 0.0f : b);
      }
    }
  }

  [[nodiscard]] ATTNRT_DEVICE int32_t column_of(int n) const {
    return static_cast<int32_t>(key_warp_) * kColumnTiles * 8 + n * 8 +
           static_cast<int32_t>(lane_ % 4) * 2;
  }

  const AttendParams& params_;
  const DeviceUnit unit_;
  const DeviceSequence sequence_;
  const uint32_t kv_head_;
  const uint32_t lane_;
  const uint32_t row_warp_;
  const uint32_t key_warp_;
  const Rows rows_;
  Softmax<T, Shape, Expression> softmax_;
  Blocks blocks_;
  int32_t num_blocks_ = 0;
  KeySource next_source_ = {-1, 0};
  float scores_[kKeyTiles][4] = {};
  float acc_[kColumnTiles][4];
  float total_[kColumnTiles][4] = {};
  RowState total_state_[2] = {RowState::empty(), RowState::empty()};
};

}  // namespace attnrt::cuda
