// SPDX-License-Identifier: Apache-2.0
// Which keys of a block a task's rows see: an interval per row where runs leave nothing open, else
// words of one bit per key.
#pragma once

#include "backends/cpu/kernels/generic/expr_inl.hpp"

namespace attnrt::cpu {
namespace {

// A block with keys of the task, and what its runs say of it.
struct BlockLanes {
  int32_t begin;        // absolute key
  int32_t first, last;  // lanes between which all keys of runs lie
  int32_t run;          // the first run that reaches into the block or beyond
  bool words;           // rows see something else than an interval of [first, last)
  uint64_t undecided;
  uint64_t lanes[kRowWords];  // of runs
};

// Lanes [first, last), of words that begin at lane 64 * w.
inline uint64_t lanes_of_word(int32_t first, int32_t last, int32_t w) {
  const int32_t low = first - w * kWordLanes;
  const int32_t high = last - w * kWordLanes;
  const int32_t from = low < 0 ? 0 : low;
  const int32_t to = high > kWordLanes ? kWordLanes : high;
  if (from >= to) return 0;
  return ~uint64_t{0} >> (kWordLanes - (to - from)) << from;
}

inline int32_t block_lane(int32_t key, int64_t begin) { return static_cast<int32_t>(key - begin); }

// The first block at or after `key` that holds keys of the task; false where there is none.
inline bool find_block(const AttendTask& task, int64_t key, int32_t run, BlockLanes& block) {
  if (key < task.key_begin) key = task.key_begin;
  block.run = run;
  block.words = false;
  block.undecided = 0;
  if (task.runs != nullptr) {
    while (block.run < task.num_runs && task.runs[block.run].key_end <= key) ++block.run;
    if (block.run == task.num_runs) return false;
    if (task.runs[block.run].key_begin > key) key = task.runs[block.run].key_begin;
  }
  if (key >= task.key_end) return false;
  const int64_t begin = key / kBlockKeys * kBlockKeys;
  block.begin = static_cast<int32_t>(begin);
  const int64_t end = begin + kBlockKeys < task.key_end ? begin + kBlockKeys : task.key_end;
  block.first = static_cast<int32_t>((task.key_begin > begin ? task.key_begin : begin) - begin);
  block.last = static_cast<int32_t>(end - begin);
  if (task.runs == nullptr) return true;
  const int32_t least = block.first;
  const int32_t most = block.last;
  for (uint64_t& word : block.lanes) word = 0;
  block.first = kBlockKeys;
  block.last = 0;
  int32_t seen = 0;
  for (int32_t i = block.run; i < task.num_runs && task.runs[i].key_begin < end; ++i) {
    const expr::MaskRun& at = task.runs[i];
    const int32_t first = at.key_begin > begin + least ? block_lane(at.key_begin, begin) : least;
    const int32_t last = at.key_end < begin + most ? block_lane(at.key_end, begin) : most;
    if (first >= last) continue;
    for (int32_t w = 0; w < kRowWords; ++w) block.lanes[w] |= lanes_of_word(first, last, w);
    block.undecided |= at.undecided;
    if (first < block.first) block.first = first;
    block.last = last;
    seen += last - first;
  }
  block.words = block.undecided != 0 || seen < block.last - block.first;
  return true;
}

// Words of rows that see [first, last) at most.
inline int32_t first_lane(const uint64_t* words) {
  if (words[0] != 0) return __builtin_ctzll(words[0]);
  return words[1] != 0 ? kWordLanes + __builtin_ctzll(words[1]) : kBlockKeys;
}
inline int32_t last_lane(const uint64_t* words) {
  if (words[1] != 0) return kBlockKeys - __builtin_clzll(words[1]);
  return words[0] != 0 ? kWordLanes - __builtin_clzll(words[0]) : 0;
}

// Calls visit(first, last) for every run of lanes of [first, last) whose bit is set.
template <class Visit>
inline void for_lane_runs(const uint64_t* words, int32_t first, int32_t last, const Visit& visit) {
  uint64_t rest[kRowWords];
  for (int32_t w = 0; w < kRowWords; ++w) rest[w] = words[w] & lanes_of_word(first, last, w);
  for (int32_t at = first_lane(rest); at < kBlockKeys; at = first_lane(rest)) {
    uint64_t holes[kRowWords];
    for (int32_t w = 0; w < kRowWords; ++w) {
      holes[w] = ~rest[w] & lanes_of_word(at, kBlockKeys, w);
    }
    const int32_t end = first_lane(holes);
    visit(at, end);
    for (int32_t w = 0; w < kRowWords; ++w) rest[w] &= lanes_of_word(end, kBlockKeys, w);
  }
}

// The words of the rows of a task, block by block.
template <class Isa>
class BlockMask {
 public:
  // Lines of words are tokens, or rows of a KV head where the mask depends on the head.
  BlockMask(const AttendTask& task, const ExprState& state, const int32_t* visible_begin,
            const int32_t* visible_end, uint64_t* words)
      : task_(task),
        state_(state),
        by_token_(state.call.code == nullptr || !state.call.code->uses_head),
        visible_begin_(visible_begin),
        visible_end_(visible_end),
        words_(words) {}

  // As in BlockRun. Of conjuncts that no run leaves open nothing is worked out.
  void begin_heads(int32_t head, int32_t count) {
    if (task_.runs == nullptr || state_.call.code == nullptr) return;
    state_.wanted = 0;
    for (int32_t i = 0; i < task_.num_runs; ++i) state_.wanted |= task_.runs[i].undecided;
    state_.by_token = by_token_;
    state_.first_head = head;
    state_.lines = by_token_ ? task_.tokens : count * state_.rows_of_head;
    if (state_.wanted != 0) begin_lines<Isa>(state_);
  }

  void begin_block(const BlockLanes& block) {
    block_ = block;
    if (!block.words) return;
    state_.wanted = block.undecided;
    state_.key = block.begin;
    if (block.undecided != 0) begin_keys<Isa>(state_);
    if (by_token_) find_words(0, task_.tokens, task_.group);
  }

  // Entry `head` of those walked together.
  void begin_head(int32_t head) {
    const int32_t rows = state_.rows_of_head;
    if (block_.words && !by_token_) find_words(head * rows, rows, 1);
  }

  // Null: the row sees its interval of the block's lanes.
  [[nodiscard]] const uint64_t* words_of(int32_t row) const {
    if (!block_.words) return nullptr;
    return words_ + (by_token_ ? row / task_.group : row) * kRowWords;
  }

 private:
  // Lines 0 .. count of words, which are lines `line` on of the program; the first row of line i
  // is i * rows_of_line.
  void find_words(int32_t line, int32_t count, int32_t rows_of_line) {
    for (int32_t i = 0; i < count; ++i) {
      const int32_t first = visible_begin_[i * rows_of_line] - block_.begin;
      const int32_t last = visible_end_[i * rows_of_line] - block_.begin;
      for (int32_t w = 0; w < kRowWords; ++w) {
        words_[i * kRowWords + w] = block_.lanes[w] & lanes_of_word(first, last, w);
      }
    }
    if (block_.undecided == 0) return;
    const int32_t begin = block_.first / kLineColumns * kLineColumns;
    const auto end = static_cast<int32_t>(padded(block_.last));
    for (int32_t i = 0; i < count; i += kStripRows) {
      const int32_t rows = count - i < kStripRows ? count - i : kStripRows;
      run_rows<Isa>(state_, {line + i, rows, begin, end, nullptr, words_ + i * kRowWords});
    }
  }

  const AttendTask& task_;
  ExprState state_;
  const bool by_token_;
  const int32_t *visible_begin_, *visible_end_;
  uint64_t* words_;
  BlockLanes block_{};
};

}  // namespace
}  // namespace attnrt::cpu
