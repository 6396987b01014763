// SPDX-License-Identifier: Apache-2.0
// Rows of any dtype to f32, rotated on the way if asked for.
#pragma once

#include "backends/cpu/kernels/generic/simd_inl.hpp"

namespace attnrt::cpu {
namespace {

// n elements from src to f32. Whole vectors, then a part: no read or write past either row.
template <class Isa, class In>
inline void widen_row(In in, const typename In::Stored* src, int32_t n, float* to) {
  int32_t d = 0;
  for (; d + Isa::kLanes <= n; d += Isa::kLanes) Isa::store(F32{}, to + d, Isa::load(in, src + d));
  for (; d < n; ++d) to[d] = widen(in, src[d]);
}

template <class Isa, class Out>
inline void narrow_row(Out out, const float* src, int32_t n, typename Out::Stored* to) {
  int32_t d = 0;
  for (; d + Isa::kLanes <= n; d += Isa::kLanes) Isa::store(out, to + d, Isa::load(F32{}, src + d));
  if (d < n) store_part<Isa>(out, to + d, n - d, load_part<Isa>(F32{}, src + d, n - d));
}

// Element `offset` of `src`, counted in elements of `dtype`.
template <class Isa>
inline void load_row(DType dtype, const void* src, int64_t offset, int32_t n, float* to) {
  if (dtype == DType::kF32) {
    widen_row<Isa>(F32{}, static_cast<const float*>(src) + offset, n, to);
  } else if (dtype == DType::kBF16) {
    widen_row<Isa>(Bf16{}, static_cast<const uint16_t*>(src) + offset, n, to);
  } else {
    widen_row<Isa>(F16{}, static_cast<const uint16_t*>(src) + offset, n, to);
  }
}

template <class Isa>
inline void store_row(DType dtype, const float* src, int32_t n, void* dst, int64_t offset) {
  if (dtype == DType::kF32) {
    narrow_row<Isa>(F32{}, src, n, static_cast<float*>(dst) + offset);
  } else if (dtype == DType::kBF16) {
    narrow_row<Isa>(Bf16{}, src, n, static_cast<uint16_t*>(dst) + offset);
  } else {
    narrow_row<Isa>(F16{}, src, n, static_cast<uint16_t*>(dst) + offset);
  }
}

template <class Table>
inline void rotate_pairs(Table table, const RotaryView& rotary, int64_t position, float* row) {
  const int32_t pairs = rotary.rotary_dim / 2;
  const auto* cos = static_cast<const typename Table::Stored*>(rotary.cos) + position * pairs;
  const auto* sin = static_cast<const typename Table::Stored*>(rotary.sin) + position * pairs;
  const int32_t step = rotary.interleaved ? 2 : 1;
  const int32_t other = rotary.interleaved ? 1 : pairs;
  for (int32_t i = 0; i < pairs; ++i) {
    float* x = row + i * step;
    const float c = widen(table, cos[i]);
    const float s = widen(table, sin[i]);
    const float a = x[0];
    const float b = x[other];
    x[0] = a * c - b * s;
    x[other] = b * c + a * s;
  }
}

// Columns [0, rotary_dim) of a row in place; the rest stays.
inline void rotate_row(const RotaryView& rotary, int64_t position, float* row) {
  if (rotary.dtype == DType::kF32) {
    rotate_pairs(F32{}, rotary, position, row);
  } else if (rotary.dtype == DType::kBF16) {
    rotate_pairs(Bf16{}, rotary, position, row);
  } else {
    rotate_pairs(F16{}, rotary, position, row);
  }
}

}  // namespace
}  // namespace attnrt::cpu
