// SPDX-License-Identifier: Apache-2.0
// One work item: all rows (query tokens x group) of a tile against a range of keys.
//
// Keys are visited in blocks of kBlockKeys at absolute positions, splits start fresh states at
// multiples of kSplitKeys, every product is one chain of multiply-adds per element, and a row's
// maximum moves by its own scores alone. So a row has the same bits however many rows stand beside
// it, on whatever pages of whatever layout, and however its splits are cut into items.
//
// Cost per block and KV head: K and V are read once, 2 x kBlockKeys x D elements, in place from
// packed16 pages; then 2 x kBlockKeys x (D + Dv) flops a row. Up to about 8 rows memory decides,
// beyond 32 the multiply-add units. q and acc of 256 rows at D = 128 are 256 KiB: they stream from
// L2 at 3 bytes a cycle under 32 multiply-adds a cycle.
#pragma once

#include "backends/cpu/kernels/generic/pack_inl.hpp"
#include "backends/cpu/kernels/generic/rotary_inl.hpp"
#include "backends/cpu/kernels/generic/softmax_inl.hpp"
#include "backends/cpu/kernels/generic/state_inl.hpp"
#include "backends/cpu/kernels/generic/tile_inl.hpp"

namespace attnrt::cpu {
namespace {

// src/visible_range.hpp has this closed form for everybody; an inline function of that header
// would be shared between ISAs. Both ends rise with the token, for rows without keys, too.
inline void visible_interval(const AttendTask& task, int32_t token, int32_t& begin, int32_t& end) {
  const int64_t p = int64_t{task.q_position} + token;
  int64_t first = task.key_begin;
  int64_t last = task.key_end;
  if (task.window_left >= 0 && p - task.window_left > first) first = p - task.window_left;
  if (task.window_right >= 0 && p + task.window_right + 1 < last) last = p + task.window_right + 1;
  if (first > task.key_end) first = task.key_end;
  if (last < first) last = first;
  begin = static_cast<int32_t>(first);
  end = static_cast<int32_t>(last);
}

// Consecutive rows of one head that share register tiles, and the lanes of the block that they see
// together.
struct RowTile {
  int32_t row, height;
  int32_t first, last;
  bool uniform;  // every row sees all of them
};

// Both products in registers of whole matrices, specialised where an ISA has them.
template <class Lines>
struct MatrixProducts {
  static constexpr bool kPresent = false;
  static constexpr int32_t kWeighKeys = kLineColumns;  // p is computed for so many keys at a time
  MatrixProducts(int32_t, int64_t, int64_t, float*, float*) {}
};

// Columns of a product (pieces of keys, or 16 head dims) that stay in L1 while all tiles pass.
constexpr int32_t kColumnsAtOnce = 4;

template <class Isa, class Lines, class Kv>
class AttendRun {
  using Matrix = MatrixProducts<Lines>;
  using Operand = typename Lines::Operand;
  using Stored = typename Lines::Stored;
  static constexpr int kOperandSteps = Lines::kDot ? 2 : 1;
  // Their queries, scores and columns of K share L1.
  static constexpr int32_t kRowsAtOnce = Matrix::kPresent ? kChunkRows : kChunkRows / 2;

 public:
  explicit AttendRun(const AttendTask& task)
      : task_(task),
        rows_(task.tokens * task.group),
        dim_(padded(task.head_dim)),
        dim_v_(padded(task.head_dim_v)),
        heads_at_once_(heads_together(rows_, task.kv_head_end - task.kv_head_begin)),
        at_(attend_scratch(int64_t{rows_} * heads_at_once_, task.head_dim, task.head_dim_v)),
        matrix_(rows_, dim_, dim_v_, second_half(at_.key_lines, dim_),
                second_half(at_.value_lines, dim_v_)) {
    const AttendScratch& at = at_;
    float* base = static_cast<float*>(task.scratch);
    q_ = reinterpret_cast<Operand*>(base + at.q);
    acc_ = base + at.acc;
    total_acc_ = base + at.total;
    lane_sums_ = base + at.lane_sums;
    ref_ = base + at.ref;
    rescale_ = base + at.rescale;
    total_ref_ = base + at.total_ref;
    total_sum_ = base + at.total_sum;
    visible_begin_ = reinterpret_cast<int32_t*>(base + at.visible_begin);
    visible_end_ = reinterpret_cast<int32_t*>(base + at.visible_end);
    key_lines_ = base + at.key_lines;
    value_lines_ = base + at.value_lines;
    scores_ = base + at.scores;
    zeros_ = base + at.zeros;
    key_pointers_ = reinterpret_cast<const char**>(base + at.key_pointers);
  }

  void run() {
    for (int32_t row = 0; row < rows_; ++row) {
      visible_interval(task_, row / task_.group, visible_begin_[row], visible_end_[row]);
    }
    __builtin_memset(zeros_, 0, static_cast<size_t>(dim_ > dim_v_ ? dim_ : dim_v_) * sizeof(float));
    for (int32_t head = task_.kv_head_begin; head < task_.kv_head_end; head += heads_at_once_) {
      const int32_t left = task_.kv_head_end - head;
      head_ = head;
      heads_ = left < heads_at_once_ ? left : heads_at_once_;
      run_heads();
    }
  }

 private:
  void run_heads() {
    load_queries();
    const int32_t rows = heads_ * rows_;
    for (int32_t row = 0; row < rows; ++row) {
      total_ref_[row] = -kInfinity;
      total_sum_[row] = 0.0f;
    }
    for (int32_t begin = task_.key_begin; begin < task_.key_end;) {
      const int32_t split = begin / kSplitKeys;
      // In 64 bits: the split after the last may start beyond int32.
      const int64_t next = (int64_t{split} + 1) * kSplitKeys;
      const int32_t end = next < task_.key_end ? static_cast<int32_t>(next) : task_.key_end;
      run_split(begin, end);
      end_split(split);
      begin = end;
    }
    if (task_.partial != nullptr) return;
    for (int32_t row = 0; row < rows; ++row) {
      finish_row<Isa>(task_.out, token_of(row), query_head(row), total_acc_ + row * dim_v_,
                      {total_ref_[row], total_sum_[row]}, task_.head_dim_v);
    }
  }

  // Rows are ordered by KV head, token, head of the group.
  [[nodiscard]] int32_t token_of(int32_t row) const { return row % rows_ / task_.group; }
  [[nodiscard]] int32_t query_head(int32_t row) const {
    return (head_ + row / rows_) * task_.group + row % task_.group;
  }
  [[nodiscard]] Operand* tile_queries(int32_t head, int32_t row) const {
    const int64_t at = int64_t{head} * rows_ + row;
    if constexpr (Matrix::kPresent) return q_ + at * matrix_.query_operands();
    return q_ + at * dim_ / kOperandSteps;
  }

  // What 16-bit lines leave free of the room for lines of f32.
  [[nodiscard]] float* second_half(int64_t lines, int64_t dim) const {
    return static_cast<float*>(task_.scratch) + lines + dim * kBlockKeys / 2;
  }

  // Each tile's operands stand as [step][row]: one stream for its broadcasts.
  void load_queries() {
    float* wide = key_lines_;
    for (int32_t head = 0; head < heads_; ++head) {
      for (int32_t row = 0; row < rows_;) {
        const int32_t height = tile_height<Isa>(rows_ - row);
        Operand* to = tile_queries(head, row);
        for (int32_t i = 0; i < height; ++i) {
          load_query(head * rows_ + row + i, wide);
          if constexpr (Matrix::kPresent) {
            matrix_.put_query(wide, dim_, i, height, to);
            continue;
          }
          for (int64_t step = 0; step < dim_ / kOperandSteps; ++step) {
            if constexpr (Lines::kDot) {
              to[step * height + i] = uint32_t{narrow(Bf16{}, wide[2 * step])} |
                                      uint32_t{narrow(Bf16{}, wide[2 * step + 1])} << 16;
            } else {
              to[step * height + i] = wide[step];
            }
          }
        }
        row += height;
      }
    }
  }

  void load_query(int32_t row, float* to) const {
    const int32_t token = token_of(row);
    load_row<Isa>(task_.q_dtype, task_.q,
                  token * task_.q_token_stride + query_head(row) * task_.q_head_stride,
                  task_.head_dim, to);
    for (int64_t d = task_.head_dim; d < dim_; ++d) to[d] = 0.0f;
    if (task_.rotary_q == nullptr) return;
    const int64_t position =
        task_.rotary_q_constant ? int64_t{task_.rotary_q_base} : int64_t{task_.q_position} + token;
    rotate_row(*task_.rotary_q, position, to);
  }

  void run_split(int32_t key_begin, int32_t key_end) {
    const int64_t rows = int64_t{heads_} * rows_;
    __builtin_memset(acc_, 0, static_cast<size_t>(rows * dim_v_) * sizeof(float));
    __builtin_memset(lane_sums_, 0, static_cast<size_t>(rows * kLineFloats) * sizeof(float));
    for (int64_t row = 0; row < rows; ++row) ref_[row] = -kInfinity;
    BlockKeys keys[2] = {{key_pointers_, key_pointers_ + kBlockKeys, 0, 0, 0},
                         {key_pointers_ + 2 * kBlockKeys, key_pointers_ + 3 * kBlockKeys, 0, 0, 0}};
    int current = 0;
    find_keys(task_, key_begin / kBlockKeys * kBlockKeys, keys[0]);
    for (int32_t begin = keys[0].begin; begin < key_end;) {
      // In 64 bits: the block after the last may start beyond int32.
      const int64_t next = int64_t{begin} + kBlockKeys;
      const bool more = next < task_.key_end;
      if (more) find_keys(task_, static_cast<int32_t>(next), keys[1 - current]);
      for (int32_t head = 0; head < heads_; ++head) {
        if (task_.ahead && head + 1 < heads_) {
          look_ahead(keys[current], head + 1);
        } else if (task_.ahead && more) {
          look_ahead(keys[1 - current], 0);
        } else {
          ahead_k_.stop();
          ahead_v_.stop();
        }
        run_block(keys[current], head);
      }
      if (next >= key_end) break;
      begin = static_cast<int32_t>(next);
      current = 1 - current;
    }
  }

  // Bytes from head 0 of a key to that of the heads walked together.
  [[nodiscard]] int64_t k_offset(int32_t head) const {
    return (head_ + head) * task_.kv.k_head_stride *
           static_cast<int64_t>(sizeof(typename Kv::Stored));
  }
  [[nodiscard]] int64_t v_offset(int32_t head) const {
    return (head_ + head) * task_.kv.v_head_stride *
           static_cast<int64_t>(sizeof(typename Kv::Stored));
  }

  void look_ahead(const BlockKeys& keys, int32_t head) {
    const bool packed16 = task_.kv.packed16;
    const int32_t first = packed16 ? keys.first / kLineColumns : keys.first;
    const int32_t last = packed16 ? (keys.last + kLineColumns - 1) / kLineColumns : keys.last;
    const int64_t size = sizeof(typename Kv::Stored);
    const int64_t k_bytes = packed16 ? dim_ * kLineColumns * size : task_.head_dim * size;
    const int64_t v_bytes = packed16 ? dim_v_ * kLineColumns * size : task_.head_dim_v * size;
    ahead_k_.start({keys.k + first, last - first, k_offset(head), k_bytes});
    if (task_.kv.v == task_.kv.k) {
      ahead_v_.stop();
    } else {
      ahead_v_.start({keys.v + first, last - first, v_offset(head), v_bytes});
    }
  }

  void run_block(const BlockKeys& keys, int32_t head) {
    block_begin_ = keys.begin;
    KvBlock<Lines> block;
    const BlockPacker<Isa, Lines, Kv> packer(task_.kv, key_lines_, value_lines_, zeros_);
    if (task_.kv.packed16 && sizeof(Stored) == sizeof(typename Kv::Stored)) {
      packer.in_place(keys, k_offset(head), v_offset(head), block);
    } else {
      packer.pack(keys, k_offset(head), v_offset(head), ahead_k_, ahead_v_, block);
    }
    if constexpr (Matrix::kPresent) matrix_.begin_block(block, keys.first, keys.last);
    RowTile tiles[kChunkRows];
    for (int32_t row = 0; row < rows_;) {
      int32_t count = 0;
      const int32_t chunk = row;
      for (int32_t height = 0; row < rows_; row += height) {
        height = tile_height<Isa>(rows_ - row);
        if (row + height > chunk + kRowsAtOnce) break;
        const RowTile tile = tile_at(keys, row, height);
        if (tile.first < tile.last) tiles[count++] = tile;
      }
      if (count == 0) continue;
      if constexpr (Matrix::kPresent) {
        matrix_scores(head, chunk, tiles, count);
        weigh_tiles(keys, head, chunk, tiles, count);
        matrix_values(block, head, chunk, tiles, count);
      } else {
        score_tiles(block, head, chunk, tiles, count);
        weigh_tiles(keys, head, chunk, tiles, count);
        value_tiles(block, head, chunk, tiles, count);
      }
    }
  }

  [[nodiscard]] RowTile tile_at(const BlockKeys& keys, int32_t row, int32_t height) const {
    const int32_t begin = keys.begin + keys.first;
    const int32_t end = keys.begin + keys.last;
    const int32_t bottom = row + height - 1;
    const int32_t first = visible_begin_[row] > begin ? visible_begin_[row] : begin;
    const int32_t last = visible_end_[bottom] < end ? visible_end_[bottom] : end;
    const bool uniform = visible_begin_[bottom] <= first && visible_end_[row] >= last;
    return {row, height, first - keys.begin, last - keys.begin, uniform};
  }

  void score_tiles(const KvBlock<Lines>& block, int32_t head, int32_t chunk, const RowTile* tiles,
                   int32_t count) {
    for (int32_t begin = 0; begin < kPieces; begin += kColumnsAtOnce) {
      bool first_tile = chunk == 0;
      for (int32_t i = 0; i < count; ++i) {
        const RowTile& tile = tiles[i];
        const int32_t first = tile.first / kLineColumns;
        const int32_t last = (tile.last + kLineColumns - 1) / kLineColumns;
        const int32_t from = first > begin ? first : begin;
        const int32_t to = last < begin + kColumnsAtOnce ? last : begin + kColumnsAtOnce;
        if (from >= to) continue;
        const Operand* q = tile_queries(head, tile.row);
        float* scores = scores_ + (tile.row - chunk) * kBlockKeys + from * kLineColumns;
        with_height<Isa>(tile.height, [&](auto height) {
          constexpr int kRows = decltype(height)::value;
          if (first_tile) {
            score_columns<Isa, Lines, kRows>(q, block.k + from, to - from, dim_, scores, ahead_k_);
          } else if constexpr (kRows >= kLeastOfMany<Isa>) {
            NoAhead none;
            score_columns<Isa, Lines, kRows>(q, block.k + from, to - from, dim_, scores, none);
          }
        });
        first_tile = false;
      }
    }
  }

  [[nodiscard]] RowBlock row_block(const BlockKeys& keys, int32_t head, int32_t row) const {
    const int32_t first = visible_begin_[row] - keys.begin;
    const int32_t last = visible_end_[row] - keys.begin;
    RowBlock block;
    block.first = first > 0 ? first : 0;
    block.last = last < kBlockKeys ? last : kBlockKeys;
    block.distance = 0.0f;
    block.slope = 0.0f;
    if (task_.alibi != nullptr) {
      const int32_t token = row / task_.group;
      block.distance = static_cast<float>(int64_t{task_.q_position} + token - keys.begin);
      block.slope = task_.alibi[query_head(head * rows_ + row)];
    }
    return block;
  }

  void weigh_tiles(const BlockKeys& keys, int32_t head, int32_t chunk, const RowTile* tiles,
                   int32_t count) {
    constexpr int32_t kKeys = Matrix::kWeighKeys;
    const auto lanes_begin = [](const RowTile& tile) { return tile.first / kKeys * kKeys; };
    const auto lanes_end = [](const RowTile& tile) {
      return (tile.last + kKeys - 1) / kKeys * kKeys;
    };
    alignas(64) float maxima[kChunkRows];
    const int64_t state = int64_t{head} * rows_ + chunk;
    const int32_t rows = tiles[count - 1].row + tiles[count - 1].height - chunk;
    for (int32_t i = 0; i < kChunkRows; i += Isa::kLanes) {
      typename Isa::Vec(-kInfinity).store_aligned(maxima + i);
    }
    for (int32_t i = 0; i < count; ++i) {
      const RowTile& tile = tiles[i];
      for (int32_t row = tile.row; row < tile.row + tile.height; ++row) {
        maxima[row - chunk] = score_row<Isa>(task_, row_block(keys, head, row), lanes_begin(tile),
                                             lanes_end(tile), scores_ + (row - chunk) * kBlockKeys);
      }
    }
    raise_refs<Isa>(maxima, rows, ref_ + state, rescale_ + state);
    for (int32_t i = 0; i < count; ++i) {
      const RowTile& tile = tiles[i];
      for (int32_t row = tile.row; row < tile.row + tile.height; ++row) {
        const int64_t at = int64_t{head} * rows_ + row;
        weigh_row<Isa, Lines, Kv>(lanes_begin(tile), lanes_end(tile), ref_[at], rescale_[at],
                                  lane_sums_ + at * kLineFloats,
                                  scores_ + (row - chunk) * kBlockKeys);
      }
    }
  }

  // acc = acc * rescale + P * V. p is 0 for keys that a row does not see, which is as good as not
  // adding them while V is finite; else every row is a tile of its own, over its own keys.
  void value_tiles(const KvBlock<Lines>& block, int32_t head, int32_t chunk, const RowTile* tiles,
                   int32_t count) {
    const int32_t columns = static_cast<int32_t>(dim_v_ / kLineColumns);
    bool finite[kChunkRows];
    for (int32_t i = 0; i < count; ++i) {
      finite[i] =
          tiles[i].uniform || values_finite<Isa>(block, tiles[i].first, tiles[i].last, columns);
    }
    for (int32_t begin = 0; begin < columns; begin += kColumnsAtOnce) {
      const int32_t width = columns - begin < kColumnsAtOnce ? columns - begin : kColumnsAtOnce;
      bool first_tile = chunk == 0;
      for (int32_t i = 0; i < count; ++i) {
        const RowTile& tile = tiles[i];
        if (!finite[i]) {
          value_rows(block, head, chunk, tile, begin, width);
          continue;
        }
        const int64_t state = int64_t{head} * rows_ + tile.row;
        const ValueRange<Lines> range{block, begin, tile.first, tile.last};
        const Operand* p = weights(tile.row - chunk);
        float* acc = acc_ + state * dim_v_ + begin * kLineColumns;
        with_height<Isa>(tile.height, [&](auto height) {
          constexpr int kRows = decltype(height)::value;
          if (first_tile) {
            value_columns<Isa, Lines, kRows>(p, range, width, rescale_ + state, acc, dim_v_,
                                             ahead_v_);
          } else if constexpr (kRows >= kLeastOfMany<Isa>) {
            NoAhead none;
            value_columns<Isa, Lines, kRows>(p, range, width, rescale_ + state, acc, dim_v_, none);
          }
        });
        first_tile = false;
      }
    }
  }

  [[nodiscard]] const Operand* weights(int32_t row) const {
    return reinterpret_cast<const Operand*>(scores_ + row * kBlockKeys);
  }

  void value_rows(const KvBlock<Lines>& block, int32_t head, int32_t chunk, const RowTile& tile,
                  int32_t column, int32_t width) {
    for (int32_t row = tile.row; row < tile.row + tile.height; ++row) {
      const int32_t first = visible_begin_[row] - block_begin_;
      const int32_t last = visible_end_[row] - block_begin_;
      const ValueRange<Lines> range{block, column, first > tile.first ? first : tile.first,
                                    last < tile.last ? last : tile.last};
      const int64_t state = int64_t{head} * rows_ + row;
      NoAhead none;
      value_columns<Isa, Lines, 1>(weights(row - chunk), range, width, rescale_ + state,
                                   acc_ + state * dim_v_ + column * kLineColumns, dim_v_, none);
    }
  }

  void matrix_scores(int32_t head, int32_t chunk, const RowTile* tiles, int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
      const RowTile& tile = tiles[i];
      const int32_t first = tile.first / kLineColumns;
      const int32_t last = (tile.last + kLineColumns - 1) / kLineColumns;
      const Operand* q = tile_queries(head, tile.row);
      float* scores = scores_ + (tile.row - chunk) * kBlockKeys;
      if (chunk == 0 && i == 0) {
        matrix_.scores(q, tile.height, first, last, scores, ahead_k_);
      } else {
        NoAhead none;
        matrix_.scores(q, tile.height, first, last, scores, none);
      }
    }
  }

  // As value_tiles, with whole matrices.
  void matrix_values(const KvBlock<Lines>& block, int32_t head, int32_t chunk, const RowTile* tiles,
                     int32_t count) {
    const int32_t columns = static_cast<int32_t>(dim_v_ / kLineColumns);
    for (int32_t i = 0; i < count; ++i) {
      const RowTile& tile = tiles[i];
      const int64_t state = int64_t{head} * rows_ + tile.row;
      const Operand* p = weights(tile.row - chunk);
      float* acc = acc_ + state * dim_v_;
      for (int32_t r = 0; r < tile.height; ++r) {
        if (rescale_[state + r] != 1.0f) {
          scale_values<Isa>(acc + r * dim_v_, rescale_[state + r], dim_v_);
        }
      }
      const int32_t begin = matrix_.groups_begin(tile.first);
      const int32_t end = matrix_.groups_end(tile.last);
      const bool all = tile.uniform && begin == tile.first && end == tile.last;
      if (!all && !values_finite<Isa>(block, begin, end, columns)) {
        for (int32_t r = 0; r < tile.height; ++r) {
          const int32_t first = visible_begin_[tile.row + r] - block_begin_;
          const int32_t last = visible_end_[tile.row + r] - block_begin_;
          matrix_.values_of_row(p, r, first > tile.first ? first : tile.first,
                                last < tile.last ? last : tile.last, acc);
        }
      } else if (chunk == 0 && i == 0) {
        matrix_.values(p, tile.height, tile.first, tile.last, acc, ahead_v_);
      } else {
        NoAhead none;
        matrix_.values(p, tile.height, tile.first, tile.last, acc, none);
      }
    }
  }

  void end_split(int32_t split) {
    for (int32_t row = 0; row < heads_ * rows_; ++row) {
      const State state{ref_[row],
                        Isa::reduce_add(Isa::Vec::load_aligned(lane_sums_ + row * kLineFloats))};
      const float* acc = acc_ + row * dim_v_;
      if (task_.partial == nullptr) {
        State total{total_ref_[row], total_sum_[row]};
        fold<Isa>(total, total_acc_ + row * dim_v_, state, acc, task_.head_dim_v);
        total_ref_[row] = total.ref;
        total_sum_[row] = total.sum;
        continue;
      }
      const PartialTarget& to = *task_.partial;
      const int64_t at = int64_t{split - task_.partial_first_split} * to.split_stride +
                         int64_t{token_of(row)} * task_.heads_q + query_head(row);
      to.ref[at] = state.ref;
      to.sum[at] = state.sum;
      copy_floats(to.acc + at * task_.head_dim_v, acc, task_.head_dim_v);
    }
  }

  const AttendTask& task_;
  const int32_t rows_;  // of one KV head
  const int64_t dim_, dim_v_;
  const int32_t heads_at_once_;
  int32_t head_ = 0;  // first KV head of those walked together, and how many they are
  int32_t heads_ = 0;
  int32_t block_begin_ = 0;
  Ahead ahead_k_, ahead_v_;
  const AttendScratch at_;
  Matrix matrix_;
  Operand* q_;
  float *acc_, *total_acc_, *lane_sums_, *ref_, *rescale_, *total_ref_, *total_sum_;
  int32_t *visible_begin_, *visible_end_;
  float *key_lines_, *value_lines_, *scores_, *zeros_;
  const char** key_pointers_;
};

// From so many rows on, 16-bit lines are widened once for all tiles instead of once for each.
constexpr int32_t kWidenOnceRows = 16;

// Entry of the table: f32 arithmetic on a cache of dtype Kv, whose lines are DirectLines.
template <class Isa, class Kv, class DirectLines>
void attend(const AttendTask& task) {
  if (task.tokens <= 0) return;
  if (task.tokens * task.group >= kWidenOnceRows) {
    AttendRun<Isa, F32Lines, Kv>(task).run();
  } else {
    AttendRun<Isa, DirectLines, Kv>(task).run();
  }
}

template <class Isa, class Lines = Bf16Dot>
void attend_bf16_dot(const AttendTask& task) {
  if (task.tokens > 0) AttendRun<Isa, Lines, Bf16>(task).run();
}

}  // namespace
}  // namespace attnrt::cpu
