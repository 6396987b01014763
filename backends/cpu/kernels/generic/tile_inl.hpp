// SPDX-License-Identifier: Apache-2.0
// The register tile that computes both products: C[rows][columns] (+)= A[rows][n] * B[n][columns].
// Scores are Q times the K panel, values are P times the V panel. Every element of C is one chain
// of multiply-adds in ascending n, so neither the tile's height nor its width changes a bit, and a
// product may be cut along n anywhere.
//
// Cost: a step of n loads `vectors` of B and broadcasts `rows` of A for rows x vectors FMAs. 6 x 4
// (AVX-512: 10 loads, 24 FMAs) and 6 x 2 (16 registers: 8 loads, 12 FMAs) are bound by the FMA
// units; one and two rows are wide enough to hide the FMA latency where there are columns.
#pragma once

#include "backends/cpu/kernels/generic/pack_inl.hpp"

namespace attnrt::cpu {
namespace {

// B as f32 rows in scratch.
template <class Isa>
struct PanelRows {
  const float* base;
  int64_t stride;
  typename Isa::Vec load(int32_t i, int64_t column) const {
    return Isa::Vec::load_aligned(base + i * stride + column);
  }
  void step(int32_t) const {}
};

// The same, asking for later keys meanwhile.
template <class Isa>
struct PanelRowsAhead : PanelRows<Isa> {
  Ahead* ahead;
  void step(int32_t i) const {
    if (i % 4 == 0) ahead->prefetch(1);
  }
};

// B as stored rows anywhere in memory, widened as loaded: for so few rows of A that a panel would
// be written and read once.
template <class Isa, class Kv>
struct StoredRows {
  const char* const* rows;
  int64_t offset_bytes;
  Ahead* ahead;
  typename Isa::Vec load(int32_t i, int64_t column) const {
    return Isa::load(Kv{},
                     reinterpret_cast<const typename Kv::Stored*>(rows[i] + offset_bytes) + column);
  }
  void step(int32_t i) const {
    if (i % 2 == 0) ahead->prefetch(1);
  }
};

struct TileShape {
  const float* a;
  int64_t a_stride;
  float* c;
  int64_t c_stride;
  const float* rescale;  // [rows] factor for the old C; null: C starts at 0
  int32_t n_begin, n_end;
};

template <class Isa, int kRows, int kVectors, class B>
inline void multiply_tile(const TileShape& shape, const B& b, int64_t column) {
  using Vec = typename Isa::Vec;
  constexpr int kLanes = Isa::kLanes;
  Vec acc[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      acc[r][v] = shape.rescale == nullptr
                      ? Vec(0.0f)
                      : Vec::load_aligned(shape.c + r * shape.c_stride + column + v * kLanes) *
                            Vec(shape.rescale[r]);
    }
  }
  const float* a = shape.a;
  const int64_t a_stride = shape.a_stride;
  for (int32_t i = shape.n_begin; i < shape.n_end; ++i) {
    b.step(i);
    Vec row[kVectors];
    for (int v = 0; v < kVectors; ++v) row[v] = b.load(i, column + v * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const Vec factor(a[r * a_stride + i]);
      for (int v = 0; v < kVectors; ++v) acc[r][v] = Isa::fma(factor, row[v], acc[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      acc[r][v].store_aligned(shape.c + r * shape.c_stride + column + v * kLanes);
    }
  }
}

// Columns in tiles as wide as registers allow, then halves for what is left.
template <class Isa, int kRows, int kVectors, class B>
inline void multiply_columns(const TileShape& shape, const B& b, int64_t column, int64_t columns) {
  for (; column + kVectors * Isa::kLanes <= columns; column += kVectors * Isa::kLanes) {
    multiply_tile<Isa, kRows, kVectors>(shape, b, column);
  }
  if constexpr (kVectors > 1) multiply_columns<Isa, kRows, kVectors / 2>(shape, b, column, columns);
}

template <class Isa, int kRows>
constexpr int tile_vectors() {
  if (kRows == 1) return 8;
  if (Isa::kRegisters == 32) return 4;
  return kRows <= 3 ? 4 : 2;
}

// `columns` is a multiple of the lanes; C, and B's panels, have that many.
template <class Isa, int kRows = Isa::kTileRows, class B>
inline void multiply_rows(int32_t rows, const TileShape& shape, const B& b, int64_t columns) {
  if (rows == kRows) {
    multiply_columns<Isa, kRows, tile_vectors<Isa, kRows>()>(shape, b, 0, columns);
  } else if constexpr (kRows > 1) {
    multiply_rows<Isa, kRows - 1>(rows, shape, b, columns);
  }
}

// Height of the next tile when `left` rows remain: as even as possible, 8 rows are 4 + 4.
template <class Isa>
inline int32_t tile_height(int32_t left) {
  const int32_t tiles = (left + Isa::kTileRows - 1) / Isa::kTileRows;
  return (left + tiles - 1) / tiles;
}

}  // namespace
}  // namespace attnrt::cpu
