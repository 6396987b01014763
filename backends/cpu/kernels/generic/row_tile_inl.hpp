// SPDX-License-Identifier: Apache-2.0
// Rows that share register tiles, and which keys of a block they have to visit.
#pragma once

#include "backends/cpu/kernels/generic/mask_inl.hpp"
#include "backends/cpu/kernels/generic/pack_inl.hpp"

namespace attnrt::cpu {
namespace {

// Consecutive rows of one head that share register tiles, and the lanes of the block that they see
// together.
struct RowTile {
  int32_t row, height;
  int32_t first, last;
  bool uniform;     // every row sees all of them
  bool maxima;      // the products leave those of its scores
  uint32_t pieces;  // bit i: a row sees a key of piece i
};

// Calls visit(first, last) for every stretch of lanes of a tile without an empty piece.
template <class Visit>
inline void for_stretches(const RowTile& tile, const Visit& visit) {
  for (uint32_t rest = tile.pieces; rest != 0;) {
    const int32_t begin = __builtin_ctz(rest);
    const int32_t end = begin + __builtin_ctz(~(rest >> begin));
    rest = rest >> end << end;
    const int32_t first = begin * kLineColumns;
    const int32_t last = end * kLineColumns;
    visit(first > tile.first ? first : tile.first, last < tile.last ? last : tile.last);
  }
}

constexpr uint32_t pieces_between(int32_t first, int32_t last) {
  return (2u << (last - 1) / kLineColumns) - (1u << first / kLineColumns);
}

// Whether every row sees every key of the pieces that the tile visits.
inline bool whole_pieces(const RowTile& tile) {
  return tile.uniform && tile.first % kLineColumns == 0 && tile.last % kLineColumns == 0;
}

// How many tiles from the first on stand one below the other, as high, over the same lanes.
inline int32_t alike(const RowTile* tiles, int32_t count) {
  const RowTile& first = tiles[0];
  int32_t n = 1;
  for (; n < count; ++n) {
    const RowTile& tile = tiles[n];
    if (tile.row != first.row + n * first.height || tile.height != first.height ||
        tile.first != first.first || tile.last != first.last || tile.pieces != first.pieces ||
        tile.uniform != first.uniform) {
      break;
    }
  }
  return n;
}

template <class Isa>
inline RowTile tile_of_words(const BlockMask<Isa>& mask, int32_t row, int32_t height) {
  uint64_t any[kRowWords] = {};
  uint64_t all[kRowWords] = {~uint64_t{0}, ~uint64_t{0}};
  for (int32_t i = 0; i < height; ++i) {
    const uint64_t* words = mask.words_of(row + i);
    for (int32_t w = 0; w < kRowWords; ++w) {
      any[w] |= words[w];
      all[w] &= words[w];
    }
  }
  RowTile tile{row, height, first_lane(any), last_lane(any), true, false, 0};
  for (int32_t w = 0; w < kRowWords; ++w) {
    tile.uniform = tile.uniform && all[w] == lanes_of_word(tile.first, tile.last, w);
  }
  for (int32_t i = 0; i < kPieces; ++i) {
    const uint64_t piece = any[i * kLineColumns / kWordLanes] >> (i * kLineColumns % kWordLanes);
    if ((piece & 0xffff) != 0) tile.pieces |= 1u << i;
  }
  return tile;
}

// The same of rows that see an interval each, whose ends rise with the row; keys are the block's.
inline RowTile tile_of_intervals(const int32_t* visible_begin, const int32_t* visible_end,
                                 const BlockKeys& keys, int32_t row, int32_t height) {
  const int32_t begin = keys.begin + keys.first;
  const int32_t end = keys.begin + keys.last;
  const int32_t bottom = row + height - 1;
  const int32_t first = visible_begin[row] > begin ? visible_begin[row] : begin;
  const int32_t last = visible_end[bottom] < end ? visible_end[bottom] : end;
  const bool uniform = visible_begin[bottom] <= first && visible_end[row] >= last;
  const uint32_t pieces = first < last ? pieces_between(first - keys.begin, last - keys.begin) : 0;
  return {row, height, first - keys.begin, last - keys.begin, uniform, false, pieces};
}

// Factors of acc where it was rescaled already.
constexpr float kOnes[kChunkRows] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                     1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                     1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

}  // namespace
}  // namespace attnrt::cpu
