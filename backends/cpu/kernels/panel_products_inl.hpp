// SPDX-License-Identifier: Apache-2.0
// A library's matrix products as the generic kernel uses them: whole blocks of keys by panels of
// kPanelRows rows, always of one shape. The lines of a block are copied to where the library wants
// them, once for all rows of the task. Masks, softmax and everything else are the generic kernel's.
//
// Cost: the copy is 2,000 cycles a block at D = 128 (f32), the products of a full panel about
// 25,000; a panel of fewer rows takes as long as a full one.
#pragma once

#include "backends/cpu/kernels/generic/attend_inl.hpp"
#include "backends/cpu/panels.hpp"

namespace attnrt::cpu {
namespace {

static_assert(kPanelRows == kChunkRows, "a panel's scores fill AttendScratch::scores");

// Lines whose products are taken by panels.
struct PanelF32 : F32Lines {};
struct PanelBf16 : Bf16Dot {};

template <>
struct UnpairedOf<PanelBf16> {
  using Type = Bf16Lines;
};

inline void copy_line(const void* from, std::byte* to) {
  __builtin_memcpy(to, from, kPanelLineBytes);
}

template <class Isa, class Lines>
class PanelMatrix {
  using Stored = typename Lines::Stored;
  using Operand = typename Lines::Operand;
  static constexpr int32_t kSteps = Lines::kInterleave;  // of a line
  static constexpr int64_t kLine = line_elements<Lines>();
  static_assert(kLine * sizeof(Stored) == kPanelLineBytes);

 public:
  static constexpr bool kPresent = true;
  static constexpr bool kWholeBlocks = true;
  static constexpr int32_t kWeighKeys = kLineColumns;

  PanelMatrix(const AttendTask& task, int32_t, int64_t dim, int64_t dim_v, float*, float*)
      : panels_(*task.panels), dim_(dim), columns_(static_cast<int32_t>(dim_v / kLineColumns)) {}

  [[nodiscard]] int64_t query_operands() const {
    return dim_ / static_cast<int64_t>(sizeof(Operand) / sizeof(Stored));
  }

  void put_query(const float* q, int64_t dim, int32_t i, int32_t, Operand* tile) const {
    auto* to = reinterpret_cast<Stored*>(tile) + i * dim;
    for (int64_t d = 0; d < dim; ++d) {
      if constexpr (Lines::kDot) {
        to[d] = narrow(Bf16{}, q[d]);
      } else {
        to[d] = q[d];
      }
    }
  }

  // Keys [first, last) of the block are the task's. Scores of others are garbage, which the masks
  // take out.
  void begin_block(const KvBlock<Lines>& block, int32_t first, int32_t last) {
    block_ = &block;
    first_ = first;
    last_ = last;
    for (uint64_t& word : values_lanes_) word = 0;
    for (int32_t i = first / kLineColumns; i * kLineColumns < last; ++i) {
      const Stored* line = block.k[i];
      const int32_t* to = panels_.scores.line_at + i;
      for (int64_t d = 0; d < dim_; d += kSteps, line += kLine, to += kPieces) {
        copy_line(line, panels_.scores.b + int64_t{*to} * kPanelLineBytes);
      }
    }
  }

  template <class AheadT>
  void scores(const Operand* q, int32_t, int32_t, int32_t, float* scores, AheadT&) const {
    panels_.scores.multiply(panels_.scores.call, q, scores);
  }

  // acc += P * V, where p is 0 for all keys that do not count, and V of the task's keys finite.
  template <class AheadT>
  void values(const Operand* p, int32_t height, int32_t first, int32_t last, float* acc, AheadT&) {
    uint64_t lanes[kRowWords];
    for (int32_t w = 0; w < kRowWords; ++w) lanes[w] = lanes_of_word(first_, last_, w);
    put_values(lanes);
    multiply_values(p, height, first, last);
    add_sums(0, height, acc);
  }

  // Every product covers the whole block.
  [[nodiscard]] int32_t groups_begin(int32_t) const { return first_; }
  [[nodiscard]] int32_t groups_end(int32_t) const { return last_; }

  // The same for row `row` of the tile alone, over some keys whatever V of others is. Slow: every
  // row has a V of its own, and the panel it stands in.
  void values_of_row(const Operand* p, int32_t row, const uint64_t* lanes, float* acc) {
    const int32_t first = first_lane(lanes);
    if (first == kBlockKeys) return;
    put_values(lanes);
    multiply_values(p, row + 1, first, last_lane(lanes));
    add_sums(row, row + 1, acc);
  }

 private:
  // V of some keys of the block, zeros for all others.
  void put_values(const uint64_t* lanes) {
    bool same = true;
    for (int32_t w = 0; w < kRowWords; ++w) {
      same = same && values_lanes_[w] == lanes[w];
      values_lanes_[w] = lanes[w];
    }
    if (same) return;
    for (int32_t key = 0; key < kBlockKeys; key += kSteps) {
      const int32_t* to = panels_.values.line_at + int64_t{key / kSteps} * columns_;
      constexpr uint32_t kAll = (1u << kSteps) - 1;
      const uint32_t wanted =
          static_cast<uint32_t>(lanes[key / kWordLanes] >> (key % kWordLanes)) & kAll;
      for (int32_t column = 0; column < columns_; ++column) {
        std::byte* at = panels_.values.b + int64_t{to[column]} * kPanelLineBytes;
        if (wanted == kAll) {
          copy_line(line_of(key, column), at);
        } else {
          __builtin_memset(at, 0, kPanelLineBytes);
          if (wanted != 0) copy_half(line_of(key, column), wanted == 1 ? 0 : 1, at);
        }
      }
    }
  }

  [[nodiscard]] const Stored* line_of(int32_t key, int32_t column) const {
    return block_->v[key / kLineColumns] + column * block_->v_stride +
           key % kLineColumns / kSteps * kLine;
  }

  // One key of a pair.
  static void copy_half(const Stored* from, int32_t half, std::byte* to) {
    for (int32_t i = half; i < kLine; i += 2) {
      __builtin_memcpy(to + i * static_cast<int32_t>(sizeof(Stored)), from + i, sizeof(Stored));
    }
  }

  // p as a matrix without gaps, 0 for the lanes that nobody has weighed.
  void multiply_values(const Operand* p, int32_t rows, int32_t first, int32_t last) {
    const int32_t begin = first / kLineColumns * kLineColumns;
    const int32_t end = (last + kLineColumns - 1) / kLineColumns * kLineColumns;
    constexpr auto kSize = static_cast<int32_t>(sizeof(Stored));
    auto* to = static_cast<Stored*>(panels_.weights);
    for (int32_t row = 0; row < rows; ++row, p += kBlockKeys, to += kBlockKeys) {
      __builtin_memset(to, 0, static_cast<size_t>(begin * kSize));
      __builtin_memcpy(to + begin, reinterpret_cast<const Stored*>(p) + begin,
                       static_cast<size_t>((end - begin) * kSize));
      __builtin_memset(to + end, 0, static_cast<size_t>((kBlockKeys - end) * kSize));
    }
    panels_.values.multiply(panels_.values.call, panels_.weights, panels_.sums);
  }

  void add_sums(int32_t begin, int32_t end, float* acc) const {
    using Vec = typename Isa::Vec;
    const int64_t dim_v = int64_t{columns_} * kLineColumns;
    for (int64_t i = begin * dim_v; i < end * dim_v; i += Isa::kLanes) {
      (Vec::load_aligned(acc + i) + Vec::load_aligned(panels_.sums + i)).store_aligned(acc + i);
    }
  }

  PanelProducts& panels_;
  const int64_t dim_;
  const int32_t columns_;
  const KvBlock<Lines>* block_ = nullptr;
  int32_t first_ = 0, last_ = 0;
  uint64_t values_lanes_[kRowWords] = {};  // of V as it stands
};

}  // namespace
}  // namespace attnrt::cpu
