// SPDX-License-Identifier: Apache-2.0
// Both products of bf16 attention in AMX tiles. A tile of B is 1 KiB of packed16 as it stands in
// the page: 16 keys by 32 dims of K, or 32 keys by 16 dims of V. Rows (query tokens x group) are
// taken up to 32 at a time, two tiles of A.
//
// Every element of a result is one chain of TDPBF16PS in ascending steps of 32 dims or keys, so
// neither the rows beside it nor the layout changes a bit. Where 32 keys of V do not stand
// together (pages of an odd number of 16 keys) or are not all wanted, and where the dims are an odd
// number of 16, the tile is completed by zeros in a copy: cheaper than tiles of half the depth,
// which take as long as whole ones.
//
// Cost: 16 cycles a product, at least four of them independent, for one or two tile loads of 8
// cycles each.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "backends/cpu/kernels/amx_instructions.hpp"
#include "backends/cpu/kernels/generic/tile_inl.hpp"

namespace attnrt::cpu {
namespace {

constexpr int32_t kAmxRows = 16;   // of a tile
constexpr int32_t kAmxSteps = 32;  // dims or keys that one product covers
constexpr int64_t kAmxTileElements = int64_t{kAmxRows} * kAmxSteps;
constexpr int64_t kAmxRowBytes = 64;
constexpr int32_t kAmxGroups = kBlockKeys / kAmxSteps;

// Rows that share tiles: two tiles of A.
constexpr int32_t kAmxTallest = 2 * kAmxRows;

// Calls visit(Number<0>{}), visit(Number<1>{}), ..
template <int kCount, class Visit>
inline void repeat(const Visit& visit) {
  if constexpr (kCount > 0) {
    repeat<kCount - 1>(visit);
    visit(Number<kCount - 1>{});
  }
}

// The tile registers of kTall x kWide tiles of C. One row tile: 0..3 are C, 4 is A, 5..7 are B in
// turn. Two: 0..3 are C, 4 and 5 are A, 6 and 7 are B.
template <int kTall, int kWide>
struct AmxForm {
  static_assert(kTall * kWide <= 4);
  static constexpr int c(int tall, int wide) { return kTall == 1 ? wide : 2 * tall + wide; }
  static constexpr int a(int tall) { return 4 + tall; }
  static constexpr int b(int wide) { return kWide == 4 ? 5 + wide % 3 : 6 + wide; }
};

// Shapes of the tiles while one work item runs: changing them costs hundreds of cycles. An item of
// up to 32 rows has exactly its rows; of a taller one the last tiles are cut short in memory.
struct AmxShapes {
  int32_t first, second;  // rows of the first and second tile of A; second is 0 where there is one

  explicit AmxShapes(int32_t rows)
      : first(rows < kAmxRows ? rows : kAmxRows),
        second(rows >= kAmxTallest ? kAmxRows
               : rows > kAmxRows   ? rows - kAmxRows
                                   : 0) {}

  void load() const {
    TileConfig config;
    for (int tile = 0; tile < 8; ++tile) {
      const bool is_b = tile >= (second == 0 ? 5 : 6);
      const bool is_second = second != 0 && (tile == 2 || tile == 3 || tile == 5);
      config.colsb[tile] = kAmxRowBytes;
      config.rows[tile] = static_cast<uint8_t>(is_b ? kAmxRows : is_second ? second : first);
    }
    tile_load_config(config);
  }
};

// Up to 32 rows of q: [row tile][step of 32 dims][row] of 64 bytes. Loads of a tile with more rows
// than are at hand take what follows for the others.
struct AmxQueries {
  const uint16_t* q;
  int32_t height;
  int32_t steps;

  [[nodiscard]] int32_t rows(int32_t row_tile) const {
    const int32_t left = height - row_tile * kAmxRows;
    return left < kAmxRows ? left : kAmxRows;
  }
  [[nodiscard]] const uint16_t* tile(int32_t row_tile, int32_t step) const {
    return q + (row_tile * steps * kAmxRows + step * rows(row_tile)) * kAmxSteps;
  }
};

// Tiles of K: step s of piece i is at k[i] + s tiles; the last one at last[i], where the dims are
// an odd number of 16.
struct AmxKeys {
  const uint16_t* const* k;
  const uint16_t* last;  // null: none; [piece] tiles
};

// scores[16 t + r][16 g + i] of kTall row tiles and kWide pieces.
template <int kTall, int kWide, class AheadT>
inline void amx_score_tile(const AmxQueries& q, const AmxKeys& keys, int32_t piece, float* scores,
                           AheadT& ahead) {
  using Form = AmxForm<kTall, kWide>;
  repeat<kTall>([&](auto t) {
    repeat<kWide>([&](auto g) { tile_zero<Form::c(decltype(t)::value, decltype(g)::value)>(); });
  });
  for (int32_t s = 0; s < q.steps; ++s) {
    repeat<kTall>([&](auto t) {
      constexpr int kT = decltype(t)::value;
      tile_load<Form::a(kT)>(q.tile(kT, s), kAmxRowBytes);
    });
    const bool completed = keys.last != nullptr && s == q.steps - 1;
    repeat<kWide>([&](auto g) {
      constexpr int kG = decltype(g)::value;
      tile_load<Form::b(kG)>(completed ? keys.last + (piece + kG) * kAmxTileElements
                                       : keys.k[piece + kG] + s * kAmxTileElements,
                             kAmxRowBytes);
      for (int line = 0; line < kAmxRows; line += 4) ahead.template lines<4>();
      repeat<kTall>([&](auto t) {
        constexpr int kT = decltype(t)::value;
        tile_dot_bf16<Form::c(kT, kG), Form::a(kT), Form::b(kG)>();
      });
    });
  }
  repeat<kTall>([&](auto t) {
    repeat<kWide>([&](auto g) {
      constexpr int kT = decltype(t)::value;
      constexpr int kG = decltype(g)::value;
      tile_store<Form::c(kT, kG)>(scores + kT * kAmxRows * kBlockKeys + kG * kLineColumns,
                                  kBlockKeys * static_cast<int64_t>(sizeof(float)));
    });
  });
}

template <int kTall, int kWide, class AheadT>
inline void amx_score_pieces(const AmxQueries& q, const AmxKeys& keys, int32_t first, int32_t last,
                             float* scores, AheadT& ahead) {
  int32_t i = first;
  for (; i + kWide <= last; i += kWide) {
    amx_score_tile<kTall, kWide>(q, keys, i, scores + i * kLineColumns, ahead);
  }
  for (; kWide > 1 && i < last; ++i) {
    amx_score_tile<kTall, 1>(q, keys, i, scores + i * kLineColumns, ahead);
  }
}

// Which pieces to score, and where: at[r][16 i ..] for piece i of [first, last).
struct AmxScores {
  float* at;
  int32_t first, last;
};

// The scores of all rows. Rows up to the next multiple of 16 may be written, with garbage.
template <class AheadT>
inline void amx_scores(const AmxShapes& shapes, const AmxQueries& q, const AmxKeys& keys,
                       const AmxScores& scores, AheadT& ahead) {
  const auto& [at, first, last] = scores;
  if (q.height > kAmxRows) {
    amx_score_pieces<2, 2>(q, keys, first, last, at, ahead);
  } else if (shapes.second == 0) {
    amx_score_pieces<1, 4>(q, keys, first, last, at, ahead);
  } else {
    amx_score_pieces<1, 2>(q, keys, first, last, at, ahead);
  }
}

// 32 keys of V: the tile of dims [16 c, 16 c + 16) is at base + c * stride.
struct AmxValues {
  const uint16_t* base;
  int64_t stride;
};

// P as bf16 in rows that stand as far apart as those of scores, against groups [first, last).
struct AmxWeights {
  const uint16_t* p;
  const AmxValues* values;
  int32_t first, last;
};

// C of one row tile: in acc, or in a copy where fewer rows are at hand than a store writes.
struct AmxSums {
  float* at;
  int64_t stride;  // floats
};

// sums += P * V for kTall row tiles and 16 * kWide dims from 16 * column on.
template <int kTall, int kWide, class AheadT>
inline void amx_value_tile(const AmxWeights& weights, int32_t column, const AmxSums* sums,
                           AheadT& ahead) {
  using Form = AmxForm<kTall, kWide>;
  constexpr int64_t kFloatBytes = sizeof(float);
  repeat<kTall>([&](auto t) {
    repeat<kWide>([&](auto c) {
      constexpr int kT = decltype(t)::value;
      constexpr int kC = decltype(c)::value;
      tile_load<Form::c(kT, kC)>(sums[kT].at + kC * kLineColumns, sums[kT].stride * kFloatBytes);
    });
  });
  for (int32_t s = weights.first; s < weights.last; ++s) {
    repeat<kTall>([&](auto t) {
      constexpr int kT = decltype(t)::value;
      tile_load<Form::a(kT)>(weights.p + kT * kAmxRows * kBlockKeys * 2 + s * kAmxSteps,
                             kBlockKeys * kFloatBytes);
    });
    const AmxValues& values = weights.values[s];
    repeat<kWide>([&](auto c) {
      constexpr int kC = decltype(c)::value;
      tile_load<Form::b(kC)>(values.base + (column + kC) * values.stride, kAmxRowBytes);
      for (int line = 0; line < kAmxRows; line += 4) ahead.template lines<4>();
      repeat<kTall>([&](auto t) {
        constexpr int kT = decltype(t)::value;
        tile_dot_bf16<Form::c(kT, kC), Form::a(kT), Form::b(kC)>();
      });
    });
  }
  repeat<kTall>([&](auto t) {
    repeat<kWide>([&](auto c) {
      constexpr int kT = decltype(t)::value;
      constexpr int kC = decltype(c)::value;
      tile_store<Form::c(kT, kC)>(sums[kT].at + kC * kLineColumns, sums[kT].stride * kFloatBytes);
    });
  });
}

inline void copy_block(const float* from, int64_t from_stride, int32_t rows, int32_t columns,
                       float* to, int64_t to_stride) {
  for (int32_t r = 0; r < rows; ++r) {
    for (int32_t i = 0; i < columns; i += kLineFloats) {
      _mm512_store_ps(to + r * to_stride + i, _mm512_load_ps(from + r * from_stride + i));
    }
  }
}

// One row tile of fewer rows than its tile has, by way of a copy.
template <int kTall, int kWide, class AheadT>
inline void amx_value_tile_cut(const AmxWeights& weights, int32_t column, AmxSums* sums,
                               int32_t rows, AheadT& ahead) {
  constexpr int32_t kColumns = kWide * kLineColumns;
  alignas(64) float copy[kAmxRows * kColumns];
  const AmxSums last = sums[kTall - 1];
  copy_block(last.at, last.stride, rows, kColumns, copy, kColumns);
  sums[kTall - 1] = {copy, kColumns};
  amx_value_tile<kTall, kWide>(weights, column, sums, ahead);
  copy_block(copy, kColumns, rows, kColumns, last.at, last.stride);
}

// acc of all rows: `columns` times 16 dims, rows `stride` floats apart.
struct AmxAcc {
  float* at;
  int64_t stride;
  int32_t columns;
};

template <int kTall, int kWide, class AheadT>
inline void amx_value_columns(const AmxShapes& shapes, int32_t height, const AmxWeights& weights,
                              const AmxAcc& acc, AheadT& ahead) {
  const int32_t rows = height - (kTall - 1) * kAmxRows;
  const bool cut = rows < (kTall == 1 ? shapes.first : shapes.second);
  const auto tile = [&](auto wide, int32_t column) {
    constexpr int kColumns = decltype(wide)::value;
    float* at = acc.at + column * kLineColumns;
    AmxSums sums[2] = {{at, acc.stride}, {at + kAmxRows * acc.stride, acc.stride}};
    if (cut) {
      amx_value_tile_cut<kTall, kColumns>(weights, column, sums, rows, ahead);
    } else {
      amx_value_tile<kTall, kColumns>(weights, column, sums, ahead);
    }
  };
  int32_t i = 0;
  for (; i + kWide <= acc.columns; i += kWide) tile(Number<kWide>{}, i);
  for (; kWide > 1 && i < acc.columns; ++i) tile(Number<1>{}, i);
}

// acc[r][16 c ..] += P * V of `height` rows.
template <class AheadT>
inline void amx_values(const AmxShapes& shapes, int32_t height, const AmxWeights& weights,
                       const AmxAcc& acc, AheadT& ahead) {
  if (height > kAmxRows) {
    amx_value_columns<2, 2>(shapes, height, weights, acc, ahead);
  } else if (shapes.second == 0) {
    amx_value_columns<1, 4>(shapes, height, weights, acc, ahead);
  } else {
    amx_value_columns<1, 2>(shapes, height, weights, acc, ahead);
  }
}

// The last 16 dims of piece `piece`, and 16 times 0.
inline void complete_key_tile(const uint16_t* k, int64_t steps, uint16_t* to) {
  const uint16_t* from = k + (steps - 1) * kAmxTileElements;
  for (int line = 0; line < kAmxRows; ++line, to += kAmxSteps) {
    const __m512i pairs =
        line < kAmxRows / 2 ? _mm512_load_si512(from + line * kAmxSteps) : _mm512_setzero_si512();
    _mm512_store_si512(to, pairs);
  }
}

// The tile of one column with keys [first, last) of the 32 kept, all others 0. pieces: the column's
// first lines of both pieces; one without such keys may be anything.
inline void complete_value_tile(const uint16_t* const* pieces, int32_t first, int32_t last,
                                uint16_t* to) {
  for (int line = 0; line < kAmxRows; ++line, to += kAmxSteps) {
    const int32_t key = 2 * line;
    const bool low = key >= first && key < last;
    const bool high = key + 1 >= first && key + 1 < last;
    __m512i pairs = _mm512_setzero_si512();
    if (low || high) {
      const uint32_t keep = (low ? 0xffffu : 0u) | (high ? 0xffff0000u : 0u);
      const uint16_t* from = pieces[line / 8] + line % 8 * kAmxSteps;
      pairs = _mm512_and_si512(_mm512_load_si512(from), _mm512_set1_epi32(static_cast<int>(keep)));
    }
    _mm512_store_si512(to, pairs);
  }
}

}  // namespace
}  // namespace attnrt::cpu
