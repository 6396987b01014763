// SPDX-License-Identifier: Apache-2.0
// One work item: all rows (query tokens x group) of a tile against a range of keys.
//
// Keys are visited in blocks of kBlockKeys at absolute positions, splits start fresh states at
// multiples of kSplitKeys, every product is one chain of multiply-adds per element, and a row's
// maximum moves by its own scores alone. So a row has the same bits however many rows stand beside
// it, on whatever pages, and however its splits are cut into items.
//
// Cost per block and KV head: K and V are read once, 2 x kBlockKeys x D elements, and packed at the
// price of about 8 rows; then 2 x kBlockKeys x (D + Dv) flops a row at the FMA rate. Up to about 8
// rows memory decides, beyond 32 the FMA units. q, acc and total of 256 rows at D = 128 are 384
// KiB: they stream from L2 at 3 bytes a cycle under 32 FMAs a cycle.
#pragma once

#include "backends/cpu/kernels/generic/pack_inl.hpp"
#include "backends/cpu/kernels/generic/rotary_inl.hpp"
#include "backends/cpu/kernels/generic/softmax_inl.hpp"
#include "backends/cpu/kernels/generic/state_inl.hpp"
#include "backends/cpu/kernels/generic/tile_inl.hpp"

namespace attnrt::cpu {
namespace {

// src/visible_range.hpp has this closed form for everybody; an inline function of that header
// would be shared between ISAs.
inline void visible_interval(const AttendTask& task, int32_t token, int32_t& begin, int32_t& end) {
  const int64_t p = int64_t{task.q_position} + token;
  int64_t first = task.key_begin;
  int64_t last = task.key_end;
  if (task.window_left >= 0 && p - task.window_left > first) first = p - task.window_left;
  if (task.window_right >= 0 && p + task.window_right + 1 < last) last = p + task.window_right + 1;
  if (first >= last) first = last = task.key_begin;
  begin = static_cast<int32_t>(first);
  end = static_cast<int32_t>(last);
}

// Rows of one head that see keys of a block: contiguous, because both ends of the visible interval
// rise with the token.
struct BlockWork {
  BlockRows keys;
  int32_t row_begin, row_end;
  bool uniform;  // every one of these rows sees every key that the task was given
};

// Up to this many rows V is widened as it is read, in each tile of rows anew, instead of packed.
constexpr int32_t kDirectRows = 8;

// Rows whose scores are at hand, and how they meet V.
struct Chunk {
  int32_t row, count;
  int64_t columns;
  bool row_by_row;
};

template <class Isa, class Kv>
class AttendRun {
 public:
  explicit AttendRun(const AttendTask& task)
      : task_(task),
        rows_(task.tokens * task.group),
        dim_(padded(task.head_dim)),
        dim_v_(padded(task.head_dim_v)),
        heads_at_once_(heads_together(rows_, task.kv_head_end - task.kv_head_begin)) {
    const AttendScratch at =
        attend_scratch(int64_t{rows_} * heads_at_once_, task.head_dim, task.head_dim_v);
    float* base = static_cast<float*>(task.scratch);
    q_ = base + at.q;
    acc_ = base + at.acc;
    total_acc_ = base + at.total;
    lane_sums_ = base + at.lane_sums;
    ref_ = base + at.ref;
    rescale_ = base + at.rescale;
    total_ref_ = base + at.total_ref;
    total_sum_ = base + at.total_sum;
    visible_begin_ = reinterpret_cast<int32_t*>(base + at.visible_begin);
    visible_end_ = reinterpret_cast<int32_t*>(base + at.visible_end);
    key_panel_ = base + at.key_panel;
    value_panel_ = base + at.value_panel;
    scores_ = base + at.scores;
    zeros_ = base + at.zeros;
    row_pointers_ = reinterpret_cast<const char**>(base + at.row_pointers);
  }

  void run() {
    for (int32_t token = 0; token < task_.tokens; ++token) {
      visible_interval(task_, token, visible_begin_[token], visible_end_[token]);
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

  void load_queries() {
    for (int32_t row = 0; row < heads_ * rows_; ++row) {
      const int32_t token = token_of(row);
      float* to = q_ + row * dim_;
      load_row<Isa>(task_.q_dtype, task_.q,
                    token * task_.q_token_stride + query_head(row) * task_.q_head_stride,
                    task_.head_dim, to);
      if (task_.rotary_q == nullptr) continue;
      const int64_t position = task_.rotary_q_constant ? int64_t{task_.rotary_q_base}
                                                       : int64_t{task_.q_position} + token;
      rotate_row(*task_.rotary_q, position, to);
    }
  }

  void run_split(int32_t key_begin, int32_t key_end) {
    const int64_t rows = int64_t{heads_} * rows_;
    __builtin_memset(acc_, 0, static_cast<size_t>(rows * dim_v_) * sizeof(float));
    __builtin_memset(lane_sums_, 0, static_cast<size_t>(rows * kLineFloats) * sizeof(float));
    for (int64_t row = 0; row < rows; ++row) ref_[row] = -kInfinity;
    BlockRows keys[2] = {{row_pointers_, row_pointers_ + kBlockKeys, 0, 0, 0},
                         {row_pointers_ + 2 * kBlockKeys, row_pointers_ + 3 * kBlockKeys, 0, 0, 0}};
    int current = 0;
    find_rows<Kv>(task_, key_begin / kBlockKeys * kBlockKeys, keys[0]);
    for (int32_t begin = keys[0].begin; begin < key_end;) {
      // In 64 bits: the block after the last may start beyond int32.
      const int64_t next = int64_t{begin} + kBlockKeys;
      const bool more = next < task_.key_end;
      if (more) find_rows<Kv>(task_, static_cast<int32_t>(next), keys[1 - current]);
      BlockWork work{keys[current], 0, 0, true};
      find_work(work);
      for (int32_t head = 0; head < heads_ && work.row_begin < work.row_end; ++head) {
        const BlockRows* after = more ? &keys[1 - current] : nullptr;
        run_block(work, head, head + 1 < heads_ ? ahead(&work.keys, head + 1) : ahead(after, 0));
      }
      if (next >= key_end) break;
      begin = static_cast<int32_t>(next);
      current = 1 - current;
    }
  }

  [[nodiscard]] static int64_t whole_chunks(int64_t bytes) {
    return (bytes + Ahead::kChunkBytes - 1) / Ahead::kChunkBytes * Ahead::kChunkBytes;
  }
  [[nodiscard]] Ahead ahead(const BlockRows* rows, int32_t head) const {
    constexpr int64_t kBytes = sizeof(typename Kv::Stored);
    const bool v_is_k = task_.kv.v == task_.kv.k;
    return {rows,
            k_offset(head),
            v_offset(head),
            whole_chunks(task_.head_dim * kBytes),
            v_is_k ? 0 : whole_chunks(task_.head_dim_v * kBytes),
            rows == nullptr ? 0 : rows->first,
            0};
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

  void find_work(BlockWork& work) const {
    const int32_t first = work.keys.begin + work.keys.first;
    const int32_t last = work.keys.begin + work.keys.last;
    int32_t begin = 0;
    int32_t end = task_.tokens;
    while (begin < end && (visible_end_[begin] <= first || visible_begin_[begin] >= last)) ++begin;
    while (begin < end && (visible_end_[end - 1] <= first || visible_begin_[end - 1] >= last))
      --end;
    work.uniform = true;
    for (int32_t token = begin; token < end && work.uniform; ++token) {
      work.uniform = visible_begin_[token] <= first && visible_end_[token] >= last;
    }
    work.row_begin = begin * task_.group;
    work.row_end = end * task_.group;
  }

  void run_block(const BlockWork& work, int32_t head, Ahead next) {
    const int64_t v_bytes = v_offset(head);
    pack_keys<Isa, Kv>(work.keys, k_offset(head), task_.head_dim, zeros_, next, key_panel_);
    const int32_t rows = work.row_end - work.row_begin;
    const bool direct = rows <= kDirectRows && work.uniform && task_.head_dim_v % Isa::kLanes == 0;
    bool row_by_row = false;
    if (!direct) {
      pack_values<Isa, Kv>(work.keys, v_bytes, task_.head_dim_v, value_panel_);
      row_by_row = !work.uniform && !values_finite<Isa>(work.keys, task_.head_dim_v, value_panel_);
    }
    for (int32_t row = work.row_begin; row < work.row_end; row += kChunkRows) {
      const int32_t left = work.row_end - row;
      const int32_t count = left < kChunkRows ? left : kChunkRows;
      score_rows(work, head, row, count, next);
      if (direct) {
        const StoredRows<Isa, Kv> values{work.keys.v, v_bytes, &next};
        weigh_values(work, head, {row, count, task_.head_dim_v, false}, values);
      } else {
        weigh_values(work, head, {row, count, dim_v_, row_by_row},
                     PanelRows<Isa>{value_panel_, dim_v_});
      }
    }
  }

  [[nodiscard]] RowBlock row_block(const BlockWork& work, int32_t head, int32_t row) const {
    const int32_t token = row / task_.group;
    const int32_t first = visible_begin_[token] - work.keys.begin;
    const int32_t last = visible_end_[token] - work.keys.begin;
    RowBlock block;
    block.first = first > 0 ? first : 0;
    block.last = last < kBlockKeys ? last : kBlockKeys;
    block.distance = 0.0f;
    block.slope = 0.0f;
    if (task_.alibi != nullptr) {
      block.distance = static_cast<float>(int64_t{task_.q_position} + token - work.keys.begin);
      block.slope = task_.alibi[query_head(head * rows_ + row)];
    }
    return block;
  }

  // Scores of `count` rows from `row` on, turned into p.
  void score_rows(const BlockWork& work, int32_t head, int32_t row, int32_t count, Ahead& next) {
    const int64_t state = int64_t{head} * rows_ + row;
    const PanelRows<Isa> keys{key_panel_, kBlockKeys};
    for (int32_t i = 0; i < count;) {
      const int32_t height = tile_height<Isa>(count - i);
      const TileShape shape{
          q_ + (state + i) * dim_, dim_, scores_ + i * kBlockKeys, kBlockKeys, nullptr, 0,
          task_.head_dim};
      if (count <= kDirectRows) {
        multiply_rows<Isa>(height, shape, PanelRowsAhead<Isa>{keys, &next}, kBlockKeys);
      } else {
        multiply_rows<Isa>(height, shape, keys, kBlockKeys);
      }
      i += height;
    }
    for (int32_t i = 0; i < count; ++i) {
      softmax_block<Isa, Kv>(
          task_, row_block(work, head, row + i), scores_ + i * kBlockKeys,
          {lane_sums_ + (state + i) * kLineFloats, ref_ + state + i, rescale_ + state + i});
    }
  }

  // acc = acc * rescale + P * V. p is 0 for keys that a row does not see, which is as good as not
  // adding them while V is finite; else every row is a tile of its own, over its own keys.
  template <class B>
  void weigh_values(const BlockWork& work, int32_t head, const Chunk& chunk, const B& values) {
    const int64_t state = int64_t{head} * rows_ + chunk.row;
    for (int32_t i = 0; i < chunk.count;) {
      const int32_t height = chunk.row_by_row ? 1 : tile_height<Isa>(chunk.count - i);
      TileShape shape{scores_ + i * kBlockKeys,
                      kBlockKeys,
                      acc_ + (state + i) * dim_v_,
                      dim_v_,
                      rescale_ + state + i,
                      0,
                      0};
      shape.n_begin = row_block(work, head, chunk.row + i).first;
      shape.n_end = row_block(work, head, chunk.row + i + height - 1).last;
      multiply_rows<Isa>(height, shape, values, chunk.columns);
      i += height;
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
  float *q_, *acc_, *total_acc_, *lane_sums_, *ref_, *rescale_, *total_ref_, *total_sum_;
  int32_t *visible_begin_, *visible_end_;
  float *key_panel_, *value_panel_, *scores_, *zeros_;
  const char** row_pointers_;
};

template <class Isa, class Kv>
void attend(const AttendTask& task) {
  if (task.tokens <= 0) return;
  AttendRun<Isa, Kv>(task).run();
}

}  // namespace
}  // namespace attnrt::cpu
