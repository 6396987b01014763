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

#include "backends/cpu/kernels/generic/block_inl.hpp"
#include "backends/cpu/kernels/generic/rotary_inl.hpp"

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

template <class Isa, class Lines, class Kv>
class AttendRun {
 public:
  explicit AttendRun(const AttendTask& task)
      : task_(task),
        rows_(task.tokens * task.group),
        dim_(padded(task.head_dim)),
        dim_v_(padded(task.head_dim_v)),
        branches_(1 + task.more_branches),
        heads_at_once_(
            heads_together(int64_t{rows_} * branches_, task.kv_head_end - task.kv_head_begin)),
        w_(workspace_of<Lines>(task, heads_at_once_ * branches_)),
        block_(task, w_, heads_at_once_ * branches_) {}

  void run() {
    for (int32_t row = 0; row < rows_; ++row) {
      visible_interval(task_, row / task_.group, w_.visible_begin[row], w_.visible_end[row]);
    }
    __builtin_memset(w_.zeros, 0,
                     static_cast<size_t>(dim_ > dim_v_ ? dim_ : dim_v_) * sizeof(float));
    for (int32_t head = task_.kv_head_begin; head < task_.kv_head_end; head += heads_at_once_) {
      const int32_t left = task_.kv_head_end - head;
      heads_ = (left < heads_at_once_ ? left : heads_at_once_) * branches_;
      block_.begin_heads(head, heads_);
      run_heads();
    }
  }

 private:
  void run_heads() {
    load_queries();
    const int32_t rows = heads_ * rows_;
    for (int32_t row = 0; row < rows; ++row) {
      w_.total_ref[row] = -kInfinity;
      w_.total_sum[row] = 0.0f;
    }
    run_ = 0;
    for (int32_t begin = task_.key_begin; begin < task_.key_end;) {
      const int32_t split = begin / kSplitKeys;
      // In 64 bits: the split after the last may start beyond int32.
      const int64_t next = (int64_t{split} + 1) * kSplitKeys;
      const int32_t end = next < task_.key_end ? static_cast<int32_t>(next) : task_.key_end;
      BlockLanes first;
      const bool seen = find_block(task_, begin, run_, first) && first.begin < end;
      if (seen) run_ = first.run;
      // A state without keys changes nothing, but partial states must all be there.
      if (seen || task_.partial != nullptr) {
        clear_split();
        if (seen) run_split(first, end);
        end_split(split);
      }
      begin = end;
    }
    if (task_.partial != nullptr) return;
    for (int32_t row = 0; row < rows; ++row) {
      if (block_.branch_of(row) == 0) finish(row);
    }
  }

  // A row of branch 0, with those of the others.
  void finish(int32_t row) {
    const RowPlace at{block_.token_of(row), block_.query_head(row)};
    const auto state = [&](int32_t i) { return State{w_.total_ref[i], w_.total_sum[i]}; };
    float* acc = w_.total_acc + row * dim_v_;
    if (branches_ == 1) {
      finish_row<Isa>(task_.out, at, acc, state(row), task_.head_dim_v);
      return;
    }
    for (int32_t branch = 0; branch < branches_; ++branch) {
      const int32_t other = row + branch * rows_;
      add_branch<Isa>(task_.out, at, branch, {w_.total_acc + other * dim_v_, state(other)}, acc,
                      task_.head_dim_v);
    }
    write_result<Isa>(task_.out, at, acc, task_.head_dim_v);
  }

  void load_queries() {
    float* wide = w_.key_lines;
    for (int32_t head = 0; head < heads_; ++head) {
      for (int32_t row = 0; row < rows_;) {
        const int32_t height = tile_height<Isa>(rows_ - row);
        auto* tile = block_.tile_queries(head, row);
        for (int32_t i = 0; i < height; ++i) {
          if (row + i + kQueriesAhead < rows_)
            ask_for_query(head * rows_ + row + i + kQueriesAhead);
          load_query(head * rows_ + row + i, wide);
          block_.put_query(wide, i, height, tile);
        }
        row += height;
      }
    }
  }

  // q is cold, and its rows are too short for the hardware to see a stream: without this, prefill
  // waits 1.5 % of its time for them.
  static constexpr int32_t kQueriesAhead = 8;
  void ask_for_query(int32_t row) const {
    const QueryRow query = query_row(row);
    const int64_t bytes = element_bytes(task_.q_dtype);
    const char* data = static_cast<const char*>(query.q) + query.at * bytes;
    for (int64_t at = 0; at < task_.head_dim * bytes; at += 64) __builtin_prefetch(data + at);
  }

  struct QueryRow {
    const void* q;
    int64_t at;  // its first element
  };
  [[nodiscard]] QueryRow query_row(int32_t row) const {
    const int32_t token = block_.token_of(row);
    const int32_t head = block_.query_head(row);
    const int32_t branch = block_.branch_of(row);
    if (branch == 0) {
      return {task_.q, token * task_.q_token_stride + head * task_.q_head_stride};
    }
    const BranchSource& from = task_.branches[branch - 1];
    return {from.q, (task_.q_row + token) * from.q_token_stride + head * from.q_head_stride};
  }

  void load_query(int32_t row, float* to) const {
    const QueryRow query = query_row(row);
    load_row<Isa>(task_.q_dtype, query.q, query.at, task_.head_dim, to);
    for (int64_t d = task_.head_dim; d < dim_; ++d) to[d] = 0.0f;
    if (task_.rotary_q == nullptr) return;
    const int64_t position = task_.rotary_q_constant
                                 ? int64_t{task_.rotary_q_base}
                                 : int64_t{task_.q_position} + block_.token_of(row);
    rotate_row(*task_.rotary_q, position, to);
  }

  void clear_split() {
    const int64_t rows = int64_t{heads_} * rows_;
    __builtin_memset(w_.acc, 0, static_cast<size_t>(rows * dim_v_) * sizeof(float));
    __builtin_memset(w_.lane_sums, 0, static_cast<size_t>(rows * kLineFloats) * sizeof(float));
    for (int64_t row = 0; row < rows; ++row) w_.ref[row] = -kInfinity;
  }

  void run_split(BlockLanes block, int32_t key_end) {
    BlockKeys keys[2] = {
        {w_.key_pointers, w_.key_pointers + kBlockKeys, 0, 0, 0},
        {w_.key_pointers + 2 * kBlockKeys, w_.key_pointers + 3 * kBlockKeys, 0, 0, 0}};
    int current = 0;
    find_keys(task_, block, keys[0]);
    for (;;) {
      // In 64 bits: the block after the last may start beyond int32.
      BlockLanes next;
      const bool more = find_block(task_, int64_t{block.begin} + kBlockKeys, block.run, next);
      if (more) find_keys(task_, next, keys[1 - current]);
      block_.begin_block(block);
      for (int32_t head = 0; head < heads_; ++head) {
        if (block_.source.closely() && task_.kv.packed16) {
          const bool last = head + 1 == heads_;
          const BlockKeys* next = !last ? &keys[current] : more ? &keys[1 - current] : nullptr;
          look_closely(keys[current], head, next, last ? 0 : head + 1);
        } else if (block_.source.closely()) {
          if (head == 0) look_at_rows(more ? &keys[1 - current] : nullptr);
        } else if (task_.ahead && head + 1 < heads_) {
          look_ahead(keys[current], head + 1);
        } else if (task_.ahead && more) {
          look_ahead(keys[1 - current], 0);
        } else {
          block_.source.ahead_k.stop();
          block_.source.ahead_v.stop();
        }
        block_.run(keys[current], head);
      }
      if (!more || next.begin >= key_end) break;
      block = next;
      current = 1 - current;
    }
  }

  // V of a head, then K of the one after it; before them the end of its K, where asking again is
  // while V is asked for first.
  void look_closely(const BlockKeys& keys, int32_t head, const BlockKeys* next, int32_t next_head) {
    constexpr int32_t kAgainPieces = 2;
    const int32_t first = keys.first / kLineColumns;
    const int32_t last = (keys.last + kLineColumns - 1) / kLineColumns;
    const int64_t size = sizeof(typename Kv::Stored);
    const int64_t k_bytes = dim_ * kLineColumns * size;
    const int64_t v_bytes = dim_v_ * kLineColumns * size;
    LineRun* run = close_runs_;
    const auto add = [&run](const char* begin, int64_t bytes) { *run++ = {begin, begin + bytes}; };
    for (int32_t i = last - kAgainPieces > first ? last - kAgainPieces : first; i < last; ++i) {
      add(keys.k[i] + block_.source.k_offset(head), k_bytes);
    }
    const LineRun* const values = run;
    for (int32_t i = first; i < last; ++i) {
      // Pieces may share lines' places: see kv_cache.hpp.
      const bool two =
          i + 1 < last && keys.v[i + 1] == keys.v[i] + kLineColumns * kLineColumns * size;
      add(keys.v[i] + block_.source.v_offset(head), two ? 2 * v_bytes : v_bytes);
      if (two) ++i;
    }
    if (next != nullptr) {
      for (int32_t i = next->first / kLineColumns; i * kLineColumns < next->last; ++i) {
        add(next->k[i] + block_.source.k_offset(next_head), k_bytes);
      }
    }
    *run = {nullptr, nullptr};
    block_.source.start_close(values, close_runs_);
  }

  // Rows of K, then of V, all heads.
  void look_at_rows(const BlockKeys* keys) {
    LineRun* run = close_runs_;
    const auto add = [&](const char* begin, int64_t elements) {
      const char* end = begin + elements * static_cast<int64_t>(sizeof(typename Kv::Stored));
      if (run != close_runs_ && run[-1].end == begin) {
        run[-1].end = end;
      } else {
        *run++ = {begin, end};
      }
    };
    for (int32_t i = keys != nullptr ? keys->first : 0; keys != nullptr && i < keys->last; ++i) {
      add(keys->k[i] + block_.source.k_offset(0), task_.kv.k_token_stride);
    }
    const bool values = keys != nullptr && task_.kv.v != task_.kv.k;
    for (int32_t i = values ? keys->first : 0; values && i < keys->last; ++i) {
      add(keys->v[i] + block_.source.v_offset(0), task_.kv.v_token_stride);
    }
    *run = {nullptr, nullptr};
    block_.source.start_close(close_runs_);
  }

  void look_ahead(const BlockKeys& keys, int32_t head) {
    const bool packed16 = task_.kv.packed16;
    const int32_t first = packed16 ? keys.first / kLineColumns : keys.first;
    const int32_t last = packed16 ? (keys.last + kLineColumns - 1) / kLineColumns : keys.last;
    const int64_t size = sizeof(typename Kv::Stored);
    const int64_t k_bytes = packed16 ? dim_ * kLineColumns * size : task_.head_dim * size;
    const int64_t v_bytes = packed16 ? dim_v_ * kLineColumns * size : task_.head_dim_v * size;
    block_.source.ahead_k.start(
        {keys.k + first, last - first, block_.source.k_offset(head), k_bytes});
    // V is there already where another branch has read it.
    if (task_.kv.v == task_.kv.k || head % branches_ != 0) {
      block_.source.ahead_v.stop();
    } else {
      block_.source.ahead_v.start(
          {keys.v + first, last - first, block_.source.v_offset(head), v_bytes});
    }
  }

  // References as they are handed out. Zeros become positive: which one a maximum is depends on the
  // order of its operands.
  void make_refs_natural() {
    using Vec = typename Isa::Vec;
    const Vec unit(score_unit(task_));
    for (int32_t row = 0; row < heads_ * rows_; row += Isa::kLanes) {
      const Vec ref = Vec::load_unaligned(w_.ref + row);
      Isa::fma(ref, unit, Vec(0.0f)).store_unaligned(w_.ref + row);
    }
  }

  void end_split(int32_t split) {
    make_refs_natural();
    if (task_.partial != nullptr) return store_split(split);
    constexpr int32_t kLanes = Isa::kLanes;
    for (int32_t row = 0; row < heads_ * rows_; row += kLanes) {
      const int32_t left = heads_ * rows_ - row;
      const int32_t count = left < kLanes ? left : kLanes;
      alignas(64) float sums[kLanes] = {};
      for (int32_t i = 0; i < count; ++i) sums[i] = sum_of(row + i);
      fold_rows<Isa>({w_.total_ref + row, w_.total_sum + row, w_.total_acc + row * dim_v_},
                     {w_.ref + row, sums, w_.acc + row * dim_v_}, count, dim_v_);
    }
  }

  [[nodiscard]] float sum_of(int32_t row) const {
    return Isa::reduce_add(Isa::Vec::load_aligned(w_.lane_sums + row * kLineFloats));
  }

  void store_split(int32_t split) {
    const PartialTarget& to = *task_.partial;
    for (int32_t row = 0; row < heads_ * rows_; ++row) {
      const int64_t at =
          int64_t{split - task_.partial_first_split} * to.split_stride +
          (int64_t{block_.token_of(row)} * task_.heads_q + block_.query_head(row)) * branches_ +
          block_.branch_of(row);
      to.ref[at] = w_.ref[row];
      to.sum[at] = sum_of(row);
      copy_floats(to.acc + at * task_.head_dim_v, w_.acc + row * dim_v_, task_.head_dim_v);
    }
  }

  const AttendTask& task_;
  const int32_t rows_;  // of one KV head and branch
  const int64_t dim_, dim_v_;
  const int32_t branches_;
  const int32_t heads_at_once_;
  int32_t heads_ = 0;  // walked together, each once for each branch
  int32_t run_ = 0;    // of the mask, of the split at hand
  const Workspace<Lines> w_;
  LineRun close_runs_[2 * kBlockKeys + 1];  // rows; or K's end, V, next K; none
  BlockRun<Isa, Lines, Kv> block_;
};

// From so many rows on, 16-bit lines are widened once for all tiles instead of once for each. Zen
// 5, asking closely, hot, widened once against for each, GB/s: AVX-512 16 rows 10.4 / 13.3, 64 3.22
// / 3.42, 256 0.87 / 0.88; AVX2 16 rows 6.07 / 6.64, 32 3.27 / 3.18, 64 1.75 / 1.59.
constexpr int32_t kWidenOnceRows = 16;
template <class Isa>
constexpr int32_t kWidenOnceRowsClose = Isa::kRegisters == 32 ? 1 << 30 : 32;

// Entry of the table: f32 arithmetic on a cache of dtype Kv, whose lines are DirectLines.
template <class Isa, class Kv, class DirectLines>
void attend(const AttendTask& task) {
  if (task.tokens <= 0) return;
  const bool close = task.close && task.kv.packed16;
  if (task.tokens * task.group >= (close ? kWidenOnceRowsClose<Isa> : kWidenOnceRows)) {
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
