// SPDX-License-Identifier: Apache-2.0
// From products to weights: the rows of a chunk against one block, built-in scores and programs.
#pragma once

#include "backends/cpu/kernels/generic/ahead_inl.hpp"
#include "backends/cpu/kernels/generic/expr_sum_inl.hpp"
#include "backends/cpu/kernels/generic/row_tile_inl.hpp"
#include "backends/cpu/kernels/generic/workspace_inl.hpp"

namespace attnrt::cpu {
namespace {

// p is worked out for kKeys keys at a time: whole vectors, or what one product of matrices covers.
template <class Isa, class Lines, class Kv, int32_t kKeys>
class ChunkWeights {
 public:
  ChunkWeights(const AttendTask& task, const Workspace<Lines>& workspace,
               const BlockMask<Isa>& mask, int32_t heads_at_once)
      : task_(task),
        branches_(1 + task.more_branches),
        w_(workspace),
        mask_(mask),
        rows_(task.tokens * task.group),
        products_(stay_products(task)),
        unit_(score_unit(task)),
        score_(program_state(task, task.score, int64_t{rows_} * heads_at_once, w_.score_registers,
                             w_)),
        sum_(task.score_hook.call == nullptr && only_scaled(task) ? score_sum(task.score)
                                                                  : ScoreSum{}) {
    if (sum_.last != nullptr) score_.call.code = &sum_.rest;
  }
  ChunkWeights(const ChunkWeights&) = delete;
  ChunkWeights& operator=(const ChunkWeights&) = delete;

  // As in BlockRun.
  void begin_heads(int32_t head, int32_t count) {
    head_ = head;
    if (score_.call.code == nullptr) return;
    score_.first_head = head;
    score_.lines = count * rows_;
    begin_lines<Isa>(score_);
  }

  void begin_block(const BlockLanes& block) {
    if (score_.call.code == nullptr) return;
    score_.key = block.begin;
    begin_keys<Isa>(score_);
  }

  // Before the products of so many rows.
  void clear_maxima(int32_t rows) const {
    for (int32_t i = 0; i < rows * kLineFloats; i += Isa::kLanes) {
      typename Isa::Vec(-kInfinity).store_aligned(w_.maxima + i);
    }
  }

  // close: null, or asks for what comes next meanwhile.
  void run(const BlockKeys& keys, int32_t head, int32_t chunk, const RowTile* tiles, int32_t count,
           AheadClose* close) {
    alignas(64) float maxima[kChunkRows];
    const int64_t state = int64_t{head} * rows_ + chunk;
    const int32_t rows = tiles[count - 1].row + tiles[count - 1].height - chunk;
    for (int32_t i = 0; i < kChunkRows; i += Isa::kLanes) {
      typename Isa::Vec(-kInfinity).store_aligned(maxima + i);
    }
    for (int32_t i = 0; i < count; ++i) {
      const RowTile& tile = tiles[i];
      if (sum_.last != nullptr) {
        run_sum(keys, head, chunk, tile, maxima);
        continue;
      }
      if (score_.call.code != nullptr || task_.score_hook.call != nullptr) {
        run_program(keys, head, chunk, tile, maxima);
        continue;
      }
      score_rows(keys, head, chunk, tile, maxima);
    }
    if (task_.pointwise) {
      for (int32_t i = 0; i < rows; ++i) {
        w_.ref[state + i] = 0.0f;
        w_.rescale[state + i] = 1.0f;
      }
    } else {
      raise_refs<Isa>(maxima, rows, unit_, w_.ref + state, w_.rescale + state);
    }
    for (int32_t i = 0; i < count; ++i) {
      if (task_.pointwise) {
        weigh_pointwise(head, chunk, tiles[i]);
      } else {
        weigh(head, chunk, tiles[i], close);
      }
      if (task_.weight_hook.call != nullptr) run_weight_hook(keys, head, chunk, tiles[i]);
    }
  }

 private:
  [[nodiscard]] int32_t query_head(int32_t head, int32_t row) const {
    return (head_ + head / branches_) * task_.group + row % task_.group;
  }

  [[nodiscard]] RowBlock row_block(const BlockKeys& keys, int32_t head, int32_t row) const {
    const int32_t first = w_.visible_begin[row] - keys.begin;
    const int32_t last = w_.visible_end[row] - keys.begin;
    RowBlock block;
    block.first = first > keys.first ? first : keys.first;
    block.last = last < keys.last ? last : keys.last;
    block.words = mask_.words_of(row);
    block.distance = 0.0f;
    block.slope = 0.0f;
    if (task_.alibi != nullptr) {
      const int32_t token = row / task_.group;
      block.distance = static_cast<float>(int64_t{task_.q_position} + token - keys.begin);
      block.slope = task_.alibi[query_head(head, row)];
    }
    return block;
  }

  // Whole vectors, or what one product of matrices covers.
  static int32_t lanes_begin(const RowTile& tile) { return tile.first / kKeys * kKeys; }
  static int32_t lanes_end(const RowTile& tile) { return (tile.last + kKeys - 1) / kKeys * kKeys; }

  struct HookValues {
    float* scores;  // or weights, of the row
    float reference;
  };

  // Over the keys of the tile that there are.
  void run_hook(const TileHook& hook, const BlockKeys& keys, int32_t head, int32_t row,
                const RowTile& tile, const HookValues& values) const {
    TileRow at;
    at.values = values.scores + tile.first;
    at.num_keys = tile.last - tile.first;
    at.key_begin = keys.begin + tile.first;
    at.seq = task_.seq;
    at.head = query_head(head, row);
    at.branch = head % branches_;
    at.position = task_.q_position + row / task_.group;
    at.reference = values.reference;
    hook.call(at, hook.user);
  }

  void score_rows(const BlockKeys& keys, int32_t head, int32_t chunk, const RowTile& tile,
                  float* maxima) const {
    for (int32_t row = tile.row - chunk; row < tile.row + tile.height - chunk; ++row) {
      if (tile.maxima) {
        maxima[row] = Isa::reduce_max(Isa::Vec::load_aligned(w_.maxima + row * kLineFloats));
        continue;
      }
      const RowBlock block = row_block(keys, head, chunk + row);
      float* scores = w_.scores + row * kBlockKeys;
      maxima[row] = products_
                        ? mask_row<Isa>(block, lanes_begin(tile), lanes_end(tile), scores)
                        : score_row<Isa>(task_, block, lanes_begin(tile), lanes_end(tile), scores);
    }
  }

  void weigh(int32_t head, int32_t chunk, const RowTile& tile, AheadClose* close) const {
    const int32_t begin = lanes_begin(tile);
    const int32_t end = lanes_end(tile);
    const int64_t state = int64_t{head} * rows_ + tile.row;
    float* scores = w_.scores + (tile.row - chunk) * kBlockKeys;
    for (int32_t r = 0; r < tile.height; ++r) {
      if (close != nullptr) close->row();
      const RowWeights row{unit_, w_.ref[state + r], w_.rescale[state + r],
                           w_.lane_sums + (state + r) * kLineFloats};
      weigh_row<Isa, Lines, Kv>(begin, end, row, scores + r * kBlockKeys);
    }
  }

  void weigh_pointwise(int32_t head, int32_t chunk, const RowTile& tile) const {
    const int64_t state = int64_t{head} * rows_ + tile.row;
    float* scores = w_.scores + (tile.row - chunk) * kBlockKeys;
    for (int32_t r = 0; r < tile.height; ++r) {
      weigh_pointwise_row<Isa, Lines>(lanes_begin(tile), lanes_end(tile),
                                      w_.lane_sums + (state + r) * kLineFloats,
                                      scores + r * kBlockKeys);
    }
  }

  void run_weight_hook(const BlockKeys& keys, int32_t head, int32_t chunk,
                       const RowTile& tile) const {
    for (int32_t row = tile.row; row < tile.row + tile.height; ++row) {
      float* weights = w_.scores + (row - chunk) * kBlockKeys;
      run_hook(task_.weight_hook, keys, head, row, tile,
               {weights, w_.ref[int64_t{head} * rows_ + row]});
      hide_row<Isa>(row_block(keys, head, row), lanes_begin(tile), lanes_end(tile), weights);
    }
  }

  // score_row with a program that is a sum.
  void run_sum(const BlockKeys& keys, int32_t head, int32_t chunk, const RowTile& tile,
               float* maxima) {
    for (int32_t row = tile.row; row < tile.row + tile.height; row += kStripRows) {
      const int32_t left = tile.row + tile.height - row;
      const int32_t rows = left < kStripRows ? left : kStripRows;
      RowBlock blocks[kStripRows];
      for (int32_t r = 0; r < rows; ++r) blocks[r] = row_block(keys, head, row + r);
      const ExprPlace place{TileRank::kElement, rows,
                            head * rows_ + row, lanes_begin(tile),
                            lanes_end(tile),    w_.scores + (row - chunk) * kBlockKeys};
      add_to_scores<Isa>(score_, sum_, place, task_.scale, blocks, maxima + (row - chunk));
    }
  }

  // score_row with the score program, and the hook after it, in between.
  void run_program(const BlockKeys& keys, int32_t head, int32_t chunk, const RowTile& tile,
                   float* maxima) {
    const int32_t begin = lanes_begin(tile);
    const int32_t end = lanes_end(tile);
    for (int32_t row = tile.row; row < tile.row + tile.height; row += kStripRows) {
      const int32_t left = tile.row + tile.height - row;
      const int32_t rows = left < kStripRows ? left : kStripRows;
      float* scores = w_.scores + (row - chunk) * kBlockKeys;
      for (int32_t r = 0; r < rows; ++r) {
        natural_row<Isa>(task_, row_block(keys, head, row + r), begin, end,
                         scores + r * kBlockKeys);
      }
      if (score_.call.code != nullptr) {
        run_rows<Isa>(score_, {head * rows_ + row, rows, begin, end, scores, nullptr});
      }
      for (int32_t r = 0; r < rows; ++r) {
        if (task_.score_hook.call != nullptr) {
          run_hook(task_.score_hook, keys, head, row + r, tile, {scores + r * kBlockKeys, 0.0f});
        }
        maxima[row - chunk + r] =
            mask_row<Isa>(row_block(keys, head, row + r), begin, end, scores + r * kBlockKeys);
      }
    }
  }

  const AttendTask& task_;
  const int32_t branches_;
  const Workspace<Lines>& w_;
  const BlockMask<Isa>& mask_;
  const int32_t rows_;  // of one KV head and branch
  const bool products_;
  const float unit_;
  int32_t head_ = 0;
  ExprState score_;
  const ScoreSum sum_;
};

}  // namespace
}  // namespace attnrt::cpu
