// SPDX-License-Identifier: Apache-2.0
// One block of keys of one KV head against all rows of a task: scores, softmax, values. Rows pass
// in chunks whose scores stay in L1, and within a chunk a few columns of K or V at a time.
#pragma once

#include "backends/cpu/kernels/generic/block_source_inl.hpp"
#include "backends/cpu/kernels/generic/state_inl.hpp"
#include "backends/cpu/kernels/generic/tile_inl.hpp"
#include "backends/cpu/kernels/generic/weigh_inl.hpp"

namespace attnrt::cpu {
namespace {

// Both products in registers of whole matrices, specialised where an ISA has them.
template <class Lines>
struct MatrixProducts {
  static constexpr bool kPresent = false;
  static constexpr bool kWholeBlocks = false;  // a product is one sum over all keys of a block
  static constexpr int32_t kWeighKeys = kLineColumns;  // p is computed for so many keys at a time
  MatrixProducts(const AttendTask&, int32_t, int64_t, int64_t, float*, float*) {}
};

template <class Isa, class Lines, class Kv>
class BlockRun {
  using Matrix = MatrixProducts<Lines>;
  using Stored = typename Lines::Stored;
  static constexpr int kOperandSteps = Lines::kDot ? 2 : 1;
  // Their queries, scores and columns of K share L1. Zen 5: 24 or 48 rows take 0.8 % longer.
  static constexpr int32_t kRowsAtOnce = Matrix::kPresent ? kChunkRows : kChunkRows * 3 / 4;

 public:
  using Operand = typename Lines::Operand;

  BlockRun(const AttendTask& task, const Workspace<Lines>& workspace, int32_t heads_at_once)
      : source(task, workspace, task.tokens * task.group <= kRowsAtOnce),
        task_(task),
        w_(workspace),
        rows_(task.tokens * task.group),
        branches_(1 + task.more_branches),
        dim_(padded(task.head_dim)),
        dim_v_(padded(task.head_dim_v)),
        products_(!Matrix::kPresent && stay_products(task)),
        mask_(task,
              program_state(task, task.mask, int64_t{rows_} * heads_at_once, w_.mask_registers, w_),
              w_.visible_begin, w_.visible_end, w_.mask_words),
        weights_(task, w_, mask_, heads_at_once),
        matrix_(task, rows_, dim_, dim_v_, w_.key_rest, w_.value_rest) {}

  // The first KV head of those walked together, and how many with each branch counted: entry i is
  // branch i % branches of its head.
  void begin_heads(int32_t head, int32_t count) {
    head_ = head;
    source.begin_heads(head, count);
    mask_.begin_heads(head, count);
    weights_.begin_heads(head, count);
  }

  // What the programs need of the block that comes next, for all heads.
  void begin_block(const BlockLanes& block) {
    mask_.begin_block(block);
    weights_.begin_block(block);
  }

  // Rows are ordered by KV head, branch, token, head of the group.
  [[nodiscard]] int32_t token_of(int32_t row) const { return row % rows_ / task_.group; }
  [[nodiscard]] int32_t branch_of(int32_t row) const { return row / rows_ % branches_; }
  [[nodiscard]] int32_t query_head(int32_t row) const {
    return (head_ + row / rows_ / branches_) * task_.group + row % task_.group;
  }
  [[nodiscard]] Operand* tile_queries(int32_t head, int32_t row) const {
    const int64_t at = int64_t{head} * rows_ + row;
    if constexpr (Matrix::kPresent) return w_.q + at * matrix_.query_operands();
    return w_.q + at * dim_ / kOperandSteps;
  }

  // Row i of a tile of `height` rows: operands stand as [step][row], one stream for its broadcasts.
  void put_query(const float* wide, int32_t i, int32_t height, Operand* tile) const {
    if constexpr (Matrix::kPresent) {
      matrix_.put_query(wide, dim_, i, height, tile);
    } else {
      for (int64_t step = 0; step < dim_ / kOperandSteps; ++step) {
        if constexpr (Lines::kDot) {
          tile[step * height + i] = uint32_t{narrow(Bf16{}, wide[2 * step])} |
                                    uint32_t{narrow(Bf16{}, wide[2 * step + 1])} << 16;
        } else {
          tile[step * height + i] = wide[step];
        }
      }
    }
  }

  BlockSource<Isa, Lines, Kv, !Matrix::kPresent> source;

  // All rows of one KV head and branch of those walked together.
  void run(const BlockKeys& keys, int32_t head) {
    block_begin_ = keys.begin;
    block_first_ = keys.first;
    block_last_ = keys.last;
    finite_ = Finite::kNotKnown;
    mask_.begin_head(head);
    KvBlock<Lines> block;
    source.begin(keys, head, block);
    if constexpr (Matrix::kPresent) matrix_.begin_block(block, keys.first, keys.last);
    RowTile tiles[kChunkRows];
    for (int32_t row = 0; row < rows_;) {
      int32_t count = 0;
      const int32_t chunk = row;
      for (int32_t height = 0; row < rows_; row += height) {
        height = tile_height<Isa>(rows_ - row);
        if (row + height > chunk + kRowsAtOnce) break;
        RowTile tile = tile_at(keys, row, height);
        if (tile.first >= tile.last) continue;
        tile.maxima = products_ && whole_pieces(tile);
        tiles[count++] = tile;
      }
      if (count == 0) continue;
      bool uniform = true;
      for (int32_t i = 0; i < count; ++i) uniform = uniform && tiles[i].uniform;
      source.begin_chunk(keys, head, count, row - chunk, uniform, block);
      if constexpr (Matrix::kPresent) {
        matrix_scores(head, chunk, tiles, count);
        weights_.run(keys, head, chunk, tiles, count, nullptr);
        matrix_values(block, head, chunk, tiles, count);
      } else {
        score_tiles(block, head, chunk, tiles, count);
        weights_.run(keys, head, chunk, tiles, count, source.close_of(chunk));
        value_tiles(block, head, chunk, tiles, count);
      }
    }
  }

 private:
  [[nodiscard]] RowTile tile_at(const BlockKeys& keys, int32_t row, int32_t height) const {
    if (mask_.words_of(row) != nullptr) return tile_of_words(mask_, row, height);
    return tile_of_intervals(w_.visible_begin, w_.visible_end, keys, row, height);
  }

  // Calls visit(first, last) for the lanes of [first, last) that a row sees.
  template <class Visit>
  void for_seen_lanes(int32_t row, int32_t first, int32_t last, const Visit& visit) const {
    if (const uint64_t* words = mask_.words_of(row))
      return for_lane_runs(words, first, last, visit);
    const int32_t begin = w_.visible_begin[row] - block_begin_;
    const int32_t end = w_.visible_end[row] - block_begin_;
    visit(first > begin ? first : begin, last < end ? last : end);
  }

  void score_tiles(KvBlock<Lines>& block, int32_t head, int32_t chunk, const RowTile* tiles,
                   int32_t count) {
    weights_.clear_maxima(tiles[count - 1].row + tiles[count - 1].height - chunk);
    AheadClose* const close = source.close_of(chunk);
    for (int32_t begin = 0; begin < kPieces; begin += kColumnsAtOnce) {
      source.begin_scores(head, begin, block);
      bool first_tile = chunk == 0;
      for (int32_t i = 0, together = 1; i < count; i += together) {
        const RowTile& tile = tiles[i];
        together = first_tile && close == nullptr ? 1 : alike(tiles + i, count - i);
        const Operand* q = tile_queries(head, tile.row);
        bool scored = false;
        for_stretches(tile, [&](int32_t first_lane, int32_t last_lane) {
          const int32_t first = first_lane / kLineColumns;
          const int32_t last = (last_lane + kLineColumns - 1) / kLineColumns;
          const int32_t from = first > begin ? first : begin;
          const int32_t to = last < begin + kColumnsAtOnce ? last : begin + kColumnsAtOnce;
          if (from >= to) return;
          scored = true;
          const int32_t row = tile.row - chunk;
          const ScoreTarget target{w_.scores + row * kBlockKeys + from * kLineColumns,
                                   tile.maxima ? w_.maxima + row * kLineFloats : nullptr, together};
          with_height<Isa>(tile.height, [&](auto height) {
            constexpr int kRows = decltype(height)::value;
            if constexpr (!Matrix::kPresent) {
              if (__builtin_expect(close != nullptr, 0)) {
                return score_columns<Isa, Lines, kRows>(q, block.k + from, to - from, dim_, target,
                                                        *close);
              }
            }
            if (first_tile) {
              score_columns<Isa, Lines, kRows>(q, block.k + from, to - from, dim_, target,
                                               source.ahead_k);
            } else if constexpr (kRows >= kLeastOfMany<Isa>) {
              NoAhead none;
              score_columns<Isa, Lines, kRows>(q, block.k + from, to - from, dim_, target, none);
            }
          });
        });
        if (scored) first_tile = false;
      }
    }
  }

  // acc = acc * rescale + P * V. p is 0 for keys that a row does not see, which is as good as not
  // adding them while V is finite; else every row is a tile of its own, over its own keys.
  void value_tiles(KvBlock<Lines>& block, int32_t head, int32_t chunk, const RowTile* tiles,
                   int32_t count) {
    const int32_t columns = static_cast<int32_t>(dim_v_ / kLineColumns);
    AheadClose* const close = source.close_of(chunk);
    bool finite[kChunkRows];
    for (int32_t i = 0; i < count; ++i) {
      finite[i] = tiles[i].uniform || sees_finite(block, tiles[i].first, tiles[i].last);
    }
    for (int32_t begin = 0; begin < columns; begin += kColumnsAtOnce) {
      const int32_t width = columns - begin < kColumnsAtOnce ? columns - begin : kColumnsAtOnce;
      const int32_t column = source.begin_values(head, begin, width, block);
      bool first_tile = chunk == 0;
      for (int32_t i = 0, together = 1; i < count; i += together) {
        const RowTile& tile = tiles[i];
        together = finite[i] && (!first_tile || close != nullptr) ? alike(tiles + i, count - i) : 1;
        if (!finite[i]) {
          value_rows(block, head, chunk, tile, begin, width);
          continue;
        }
        const int64_t state = int64_t{head} * rows_ + tile.row;
        const Operand* p = weights_of(tile.row - chunk);
        ValueTarget target{w_.rescale + state, w_.acc + state * dim_v_ + begin * kLineColumns,
                           dim_v_, together};
        for_stretches(tile, [&](int32_t first, int32_t last) {
          const ValueRange<Lines> range{block, column, first, last};
          with_height<Isa>(tile.height, [&](auto height) {
            constexpr int kRows = decltype(height)::value;
            if constexpr (!Matrix::kPresent) {
              if (__builtin_expect(close != nullptr, 0)) {
                return value_columns<Isa, Lines, kRows>(p, range, width, target, *close);
              }
            }
            if (first_tile) {
              value_columns<Isa, Lines, kRows>(p, range, width, target, source.ahead_v);
            } else if constexpr (kRows >= kLeastOfMany<Isa>) {
              NoAhead none;
              value_columns<Isa, Lines, kRows>(p, range, width, target, none);
            }
          });
          target.rescale = kOnes;
        });
        first_tile = false;
      }
    }
  }

  // Whether V of keys [first, last) is finite. All keys of the block are looked at once, for the
  // many tiles on a causal diagonal; only where they are not, the keys in question.
  [[nodiscard]] bool sees_finite(const KvBlock<Lines>& block, int32_t first, int32_t last) {
    const int32_t columns = static_cast<int32_t>(dim_v_ / kLineColumns);
    if (finite_ == Finite::kNotKnown) {
      const bool all = values_finite<Isa>(block, block_first_, block_last_, columns);
      finite_ = all ? Finite::kAll : Finite::kNotAll;
    }
    return finite_ == Finite::kAll || values_finite<Isa>(block, first, last, columns);
  }

  [[nodiscard]] const Operand* weights_of(int32_t row) const {
    return reinterpret_cast<const Operand*>(w_.scores + row * kBlockKeys);
  }

  void value_rows(const KvBlock<Lines>& block, int32_t head, int32_t chunk, const RowTile& tile,
                  int32_t column, int32_t width) {
    for (int32_t row = tile.row; row < tile.row + tile.height; ++row) {
      const int64_t state = int64_t{head} * rows_ + row;
      ValueTarget target{w_.rescale + state, w_.acc + state * dim_v_ + column * kLineColumns,
                         dim_v_, 1};
      for_seen_lanes(row, tile.first, tile.last, [&](int32_t first, int32_t last) {
        NoAhead none;
        value_columns<Isa, Lines, 1>(weights_of(row - chunk), {block, column, first, last}, width,
                                     target, none);
        target.rescale = kOnes;
      });
    }
  }

  template <class Visit>
  static void matrix_stretches(const RowTile& tile, const Visit& visit) {
    if constexpr (Matrix::kWholeBlocks) {
      visit(tile.first, tile.last);
    } else {
      for_stretches(tile, visit);
    }
  }

  void matrix_scores(int32_t head, int32_t chunk, const RowTile* tiles, int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
      const RowTile& tile = tiles[i];
      const Operand* q = tile_queries(head, tile.row);
      float* scores = w_.scores + (tile.row - chunk) * kBlockKeys;
      matrix_stretches(tile, [&](int32_t first_lane, int32_t last_lane) {
        const int32_t first = first_lane / kLineColumns;
        const int32_t last = (last_lane + kLineColumns - 1) / kLineColumns;
        if (chunk == 0 && i == 0) {
          matrix_.scores(q, tile.height, first, last, scores, source.ahead_k);
        } else {
          NoAhead none;
          matrix_.scores(q, tile.height, first, last, scores, none);
        }
      });
    }
  }

  // As value_tiles, with whole matrices.
  void matrix_values(const KvBlock<Lines>& block, int32_t head, int32_t chunk, const RowTile* tiles,
                     int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
      const RowTile& tile = tiles[i];
      const int64_t state = int64_t{head} * rows_ + tile.row;
      float* acc = w_.acc + state * dim_v_;
      for (int32_t r = 0; r < tile.height; ++r) {
        if (w_.rescale[state + r] != 1.0f) {
          scale_values<Isa>(acc + r * dim_v_, w_.rescale[state + r], dim_v_);
        }
      }
      // Two stretches have no group of 32 keys in common: a piece is empty between them.
      matrix_stretches(tile, [&](int32_t first, int32_t last) {
        matrix_stretch(block, tile, chunk, {first, last}, acc, chunk == 0 && i == 0);
      });
    }
  }

  struct LaneStretch {
    int32_t first, last;
  };

  void matrix_stretch(const KvBlock<Lines>& block, const RowTile& tile, int32_t chunk,
                      const LaneStretch& stretch, float* acc, bool first_tile) {
    const int32_t first = stretch.first;
    const int32_t last = stretch.last;
    const Operand* p = weights_of(tile.row - chunk);
    const int32_t begin = matrix_.groups_begin(first);
    const int32_t end = matrix_.groups_end(last);
    const bool all = tile.uniform && begin == first && end == last;
    if (!all && !sees_finite(block, begin, end)) {
      for (int32_t r = 0; r < tile.height; ++r) {
        uint64_t lanes[kRowWords] = {};
        for_seen_lanes(tile.row + r, first, last, [&](int32_t from, int32_t to) {
          for (int32_t w = 0; w < kRowWords; ++w) lanes[w] |= lanes_of_word(from, to, w);
        });
        matrix_.values_of_row(p, r, lanes, acc);
      }
    } else if (first_tile) {
      matrix_.values(p, tile.height, first, last, acc, source.ahead_v);
    } else {
      NoAhead none;
      matrix_.values(p, tile.height, first, last, acc, none);
    }
  }

  const AttendTask& task_;
  const Workspace<Lines>& w_;
  const int32_t rows_;  // of one KV head and branch
  const int32_t branches_;
  const int64_t dim_, dim_v_;
  const bool products_;  // scores are none but these
  int32_t head_ = 0;
  // Of the block at hand.
  int32_t block_begin_ = 0, block_first_ = 0, block_last_ = 0;
  enum class Finite : uint8_t { kNotKnown, kAll, kNotAll } finite_ = Finite::kNotKnown;
  BlockMask<Isa> mask_;
  ChunkWeights<Isa, Lines, Kv, Matrix::kWeighKeys> weights_;
  Matrix matrix_;
};

}  // namespace
}  // namespace attnrt::cpu
