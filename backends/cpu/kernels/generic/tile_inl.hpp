// SPDX-License-Identifier: Apache-2.0
// The register tiles of both products. Scores are Q times the lines of K; acc gains P times the
// lines of V. Every element of a result is one chain of multiply-adds in ascending dim or key, so
// neither the tile's height nor its width changes a bit.
//
// Cost: a line is read and widened once for all rows of a tile. On AVX-512 a step of a 6 x 4 tile
// is 4 lines, 6 broadcasts and 24 multiply-adds: bound by the multiply-adds.
#pragma once

#include "backends/cpu/kernels/generic/ahead_inl.hpp"

namespace attnrt::cpu {
namespace {

// Which of the two interleaved steps of a line count: edges of a range of keys.
enum Keep : int { kKeepLow = 1, kKeepHigh = 2, kKeepBoth = 3 };

// Accumulators of kRows rows x kWidth lines.
template <class Isa, int kRows, int kWidth>
struct TileSums {
  static constexpr int kVectors = kWidth * parts<Isa>();
  typename Isa::Vec at[kRows][kVectors];
};

// sums += operands x lines. Operand of row r, product h: a[r * kRowStride + h * kProductStride].
// Everything here is inlined and unrolled, or GCC 12 keeps the sums in memory.
template <class Isa, class Lines, int kHalf, int kKeep, int kRowStride, int kProductStride,
          int kRows, int kWidth>
[[gnu::always_inline]] inline void add_half(const typename Lines::Operand* a,
                                            const typename Lines::Stored* const* lines,
                                            TileSums<Isa, kRows, kWidth>& sums) {
  constexpr int kVectors = TileSums<Isa, kRows, kWidth>::kVectors;
  constexpr int kParts = parts<Isa>();
  decltype(Isa::template line<kHalf, kKeep>(Lines{}, lines[0], 0)) line[kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    line[v] = Isa::template line<kHalf, kKeep>(Lines{}, lines[v / kParts], v % kParts);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const auto factor = Isa::broadcast(Lines{}, a[r * kRowStride + kHalf * kProductStride]);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      sums.at[r][v] = Isa::multiply_add(Lines{}, factor, line[v], sums.at[r][v]);
    }
  }
}
template <class Isa, class Lines, int kKeep, int kRowStride, int kProductStride, int kRows,
          int kWidth>
[[gnu::always_inline]] inline void add_lines(const typename Lines::Operand* a,
                                             const typename Lines::Stored* const* lines,
                                             TileSums<Isa, kRows, kWidth>& sums) {
  constexpr bool kTwo = Lines::kProducts == 2;
  if constexpr (!kTwo || (kKeep & kKeepLow) != 0) {
    add_half<Isa, Lines, 0, kKeep, kRowStride, kProductStride>(a, lines, sums);
  }
  if constexpr (kTwo && (kKeep & kKeepHigh) != 0) {
    add_half<Isa, Lines, 1, kKeep, kRowStride, kProductStride>(a, lines, sums);
  }
}

template <class AheadT>
constexpr bool kPullsToL1 = false;
template <>
constexpr bool kPullsToL1<Ahead> = true;

// Scores of row r, from the first piece in question on, at scores + r * kBlockKeys. Where maxima is
// set, those of lane i of all vectors, while they are in registers: maxima[r * kLineFloats + i].
// `tiles` tiles stand one below the other: what a call for each takes in between is more than the
// CPU looks ahead over, 1 % of prefill.
struct ScoreTarget {
  float* scores;
  float* maxima;
  int32_t tiles;
};

template <class Isa, int kRows, int kWidth>
[[gnu::always_inline]] inline void put_scores(const TileSums<Isa, kRows, kWidth>& sums,
                                              float* scores, float* maxima) {
  using Vec = typename Isa::Vec;
  constexpr int kVectors = TileSums<Isa, kRows, kWidth>::kVectors;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      sums.at[r][v].store_aligned(scores + r * kBlockKeys + v * Isa::kLanes);
    }
  }
  if (maxima == nullptr) return;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    Vec largest = Vec::load_aligned(maxima + r * kLineFloats);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) largest = xsimd::max(largest, sums.at[r][v]);
    largest.store_aligned(maxima + r * kLineFloats);
  }
}

// Scores of kWidth pieces from `pieces` on. q: the tiles' operands, [dim or pair of dims][kRows].
template <class Isa, class Lines, int kRows, int kWidth, class AheadT>
[[gnu::noinline]] void score_tile(const typename Lines::Operand* q,
                                  const typename Lines::Stored* const* pieces, int64_t dim,
                                  const ScoreTarget& target, AheadT& ahead_of_block) {
  using Vec = typename Isa::Vec;
  constexpr int kVectors = TileSums<Isa, kRows, kWidth>::kVectors;
  float* scores = target.scores;
  float* maxima = target.maxima;
  AheadT ahead = ahead_of_block;
  for (int32_t left = target.tiles; left > 0; --left) {
    TileSums<Isa, kRows, kWidth> sums;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) sums.at[r][v] = Vec(0.0f);
    }
    const typename Lines::Stored* lines[kWidth];
#pragma GCC unroll 16
    for (int g = 0; g < kWidth; ++g) lines[g] = pieces[g];
#pragma GCC unroll 2
    for (int64_t d = 0; d < dim; d += Lines::kInterleave) {
      ahead.template lines<kWidth>();
      if constexpr (kPullsToL1<AheadT>) {
#pragma GCC unroll 16
        for (int g = 0; g < kWidth; ++g) {
          __builtin_prefetch(lines[g] + kLinesToL1 * line_elements<Lines>());
        }
      }
      add_lines<Isa, Lines, kKeepBoth, 1, kRows>(q, lines, sums);
      q += Lines::kProducts * kRows;
#pragma GCC unroll 16
      for (int g = 0; g < kWidth; ++g) lines[g] += line_elements<Lines>();
    }
    put_scores<Isa>(sums, scores, maxima);
    scores += kRows * kBlockKeys;
    if (maxima != nullptr) maxima += kRows * kLineFloats;
  }
  ahead_of_block = ahead;
}

// Keys [first, last) of the block, and the dims of one tile: 16 * column on.
template <class Lines>
struct ValueRange {
  const KvBlock<Lines>& block;
  int64_t column;
  int32_t first, last;
};

// The line of a key, for 16 dims from `column` on.
template <class Lines>
inline const typename Lines::Stored* value_line(const ValueRange<Lines>& range, int32_t key) {
  const uint32_t piece = static_cast<uint32_t>(key) / kLineColumns;
  const uint32_t line = static_cast<uint32_t>(key) % kLineColumns / Lines::kInterleave;
  return range.block.v[piece] + range.column * range.block.v_stride + line * line_elements<Lines>();
}

// Adds the one key of a pair that a range begins or ends with. The operand of a dot covers its
// neighbour, too, whose half of the line counts as 0.
template <class Isa, class Lines, int kKeep, int kRows, int kWidth>
[[gnu::always_inline]] inline void add_edge(const typename Lines::Operand* p,
                                            const ValueRange<Lines>& range, int32_t key,
                                            TileSums<Isa, kRows, kWidth>& sums) {
  const int32_t pair = key / 2;
  const typename Lines::Stored* lines[kWidth];
#pragma GCC unroll 16
  for (int g = 0; g < kWidth; ++g) lines[g] = value_line(range, key) + g * range.block.v_stride;
  add_lines<Isa, Lines, kKeep, kBlockKeys, 1>(p + (Lines::kDot ? pair : 2 * pair), lines, sums);
}

// Where the weighted values of `tiles` tiles, one below the other, stand: row r at acc + r *
// stride, to be scaled by rescale[r] first.
struct ValueTarget {
  const float* rescale;
  float* acc;
  int64_t stride;
  int32_t tiles;
};

// sums += p * V.
template <class Isa, class Lines, int kRows, int kWidth, class AheadT>
[[gnu::always_inline]] inline void add_values(const typename Lines::Operand* p,
                                              const ValueRange<Lines>& range,
                                              TileSums<Isa, kRows, kWidth>& sums, AheadT& ahead) {
  constexpr int kKeys = Lines::kInterleave;  // of a line
  int32_t key = range.first;
  if (kKeys == 2 && key % 2 != 0 && key < range.last) {  // the range of a row alone may be empty
    add_edge<Isa, Lines, kKeepHigh>(p, range, key, sums);
    ++key;
  }
  const int64_t v_stride = range.block.v_stride;
  const int32_t whole = range.last / kKeys * kKeys;
  const typename Lines::Operand* a = p + (Lines::kDot ? key / 2 : key);
  while (key < whole) {
    const int32_t piece_end = key / kLineColumns * kLineColumns + kLineColumns;
    const int32_t end = whole < piece_end ? whole : piece_end;
    const typename Lines::Stored* line = value_line(range, key);
#pragma GCC unroll 2
    for (; key < end; key += kKeys) {
      const typename Lines::Stored* lines[kWidth];
#pragma GCC unroll 16
      for (int g = 0; g < kWidth; ++g) lines[g] = line + g * v_stride;
      ahead.template lines<kWidth>();
      if constexpr (kPullsToL1<AheadT>) {
#pragma GCC unroll 16
        for (int g = 0; g < kWidth; ++g) __builtin_prefetch(lines[g] + kWidth * v_stride);
      }
      add_lines<Isa, Lines, kKeepBoth, kBlockKeys, 1>(a, lines, sums);
      a += Lines::kProducts;
      line += line_elements<Lines>();
    }
  }
  if (kKeys == 2 && key < range.last) add_edge<Isa, Lines, kKeepLow>(p, range, key, sums);
}

// acc = acc * rescale + p * V for kWidth x 16 dims. p: rows of kBlockKeys
// floats, or of as many bf16 in their first half.
template <class Isa, class Lines, int kRows, int kWidth, class AheadT>
[[gnu::noinline]] void value_tile(const typename Lines::Operand* p, const ValueRange<Lines>& range,
                                  const ValueTarget& target, AheadT& ahead_of_block) {
  using Vec = typename Isa::Vec;
  constexpr int kVectors = TileSums<Isa, kRows, kWidth>::kVectors;
  const float* rescale = target.rescale;
  float* acc = target.acc;
  const int64_t stride = target.stride;
  const ValueRange<Lines> at = range;
  AheadT ahead = ahead_of_block;
  for (int32_t left = target.tiles; left > 0; --left) {
    TileSums<Isa, kRows, kWidth> sums;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        sums.at[r][v] = Vec::load_aligned(acc + r * stride + v * Isa::kLanes) * Vec(rescale[r]);
      }
    }
    add_values<Isa, Lines>(p, at, sums, ahead);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        sums.at[r][v].store_aligned(acc + r * stride + v * Isa::kLanes);
      }
    }
    p += kRows * kBlockKeys;
    rescale += kRows;
    acc += kRows * stride;
  }
  ahead_of_block = ahead;
}

// Lines side by side in a tile of so many rows: as many as the registers hold, beside one row of
// lines and a broadcast.
template <class Isa, int kRows>
constexpr int tile_width() {
  constexpr int kFree = Isa::kRegisters - 3;
  for (int width = 4; width > 1; width /= 2) {
    if ((kRows + 1) * width * parts<Isa>() <= kFree) return width;
  }
  return 1;
}

// Height of the next tile when `left` rows remain: as even as possible.
template <class Isa>
inline int32_t tile_height(int32_t left) {
  if (left <= Isa::kShortRows) return left;
  const int32_t tiles = (left + Isa::kTileRows - 1) / Isa::kTileRows;
  return (left + tiles - 1) / tiles;
}

// Calls visit.template operator()<kRows>() for the height.
template <class Isa,
          int kRows = (Isa::kTileRows > Isa::kShortRows ? Isa::kTileRows : Isa::kShortRows),
          class Visit>
inline void with_height(int32_t rows, const Visit& visit) {
  if constexpr (kRows == 1) {
    visit(Number<1>{});
  } else if (rows == kRows) {
    visit(Number<kRows>{});
  } else {
    with_height<Isa, kRows - 1>(rows, visit);
  }
}

// Lower tiles than this stand alone: tile_height cuts no more than kShortRows + 1 rows so low.
template <class Isa>
constexpr int kLeastOfMany = (Isa::kShortRows + 1) / 2;

template <class Isa, class Lines, int kRows, class AheadT>
inline void score_columns(const typename Lines::Operand* q,
                          const typename Lines::Stored* const* pieces, int32_t count, int64_t dim,
                          ScoreTarget target, AheadT& ahead) {
  constexpr int kWidth = tile_width<Isa, kRows>();
  int32_t i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    score_tile<Isa, Lines, kRows, kWidth>(q, pieces + i, dim, target, ahead);
    target.scores += kWidth * kLineColumns;
  }
  for (; kWidth > 1 && i < count; ++i) {
    score_tile<Isa, Lines, kRows, 1>(q, pieces + i, dim, target, ahead);
    target.scores += kLineColumns;
  }
}

// `count` columns of 16 dims from range.column on.
template <class Isa, class Lines, int kRows, class AheadT>
inline void value_columns(const typename Lines::Operand* p, ValueRange<Lines> range, int32_t count,
                          ValueTarget target, AheadT& ahead) {
  constexpr int kWidth = tile_width<Isa, kRows>();
  const int64_t end = range.column + count;
  for (; range.column + kWidth <= end; range.column += kWidth) {
    value_tile<Isa, Lines, kRows, kWidth>(p, range, target, ahead);
    target.acc += kWidth * kLineColumns;
  }
  for (; kWidth > 1 && range.column < end; ++range.column) {
    value_tile<Isa, Lines, kRows, 1>(p, range, target, ahead);
    target.acc += kLineColumns;
  }
}

// Whether V of keys [first, last) is finite: x * 0 is 0 exactly for finite x, NaN for all others.
// Whole pieces are looked at; a false alarm costs time only.
template <class Isa, class Lines>
inline bool values_finite(const KvBlock<Lines>& block, int32_t first, int32_t last,
                          int32_t columns) {
  using Vec = typename Isa::Vec;
  using Read = Unpaired<Lines>;
  constexpr int kVectors = kLineColumns / Lines::kInterleave * parts<Isa>();
  // Four sums, or every multiply-add waits for the one before: 3 % of a mask of partial tiles.
  Vec bad[4] = {Vec(0.0f), Vec(0.0f), Vec(0.0f), Vec(0.0f)};
  for (int32_t piece = first / kLineColumns; piece * kLineColumns < last; ++piece) {
    for (int32_t column = 0; column < columns; ++column) {
      const typename Lines::Stored* lines = block.v[piece] + column * block.v_stride;
      const auto look_at = [&](int i, Vec& low, Vec& high) {
        const typename Lines::Stored* line = lines + i / parts<Isa>() * line_elements<Lines>();
        const int part = i % parts<Isa>();
        low = Isa::fma(Isa::template line<0, kKeepBoth>(Read{}, line, part), Vec(0.0f), low);
        if constexpr (Lines::kInterleave == 2) {
          high = Isa::fma(Isa::template line<1, kKeepBoth>(Read{}, line, part), Vec(0.0f), high);
        }
      };
      for (int i = 0; i < kVectors; i += 2) {
        look_at(i, bad[0], bad[1]);
        look_at(i + 1, bad[2], bad[3]);
      }
    }
  }
  return Isa::reduce_add((bad[0] + bad[1]) + (bad[2] + bad[3])) == 0.0f;
}

}  // namespace
}  // namespace attnrt::cpu
