// SPDX-License-Identifier: Apache-2.0
// A block of K and V as the register tiles want it: K transposed to [dim][keys], V as [keys][dim],
// both f32. Only keys that the task was given are touched, and of those no byte beyond the row.
//
// Cost per block at D = 128, 16-bit, AVX-512: about 1,000 cycles for K (a 16 x 16 transpose moves
// 32 columns at once) and 600 for V, as much as 5 rows of arithmetic.
#pragma once

#include "backends/cpu/kernels/generic/simd_inl.hpp"

namespace attnrt::cpu {
namespace {

// The keys [first, last) of the block at absolute key `begin`; rows of head 0, null elsewhere.
struct BlockRows {
  const char** k;
  const char** v;
  int32_t begin;
  int32_t first, last;
};

// Finds the keys of a block through the page list; page_size need not divide anything.
template <class Kv>
inline void find_rows(const AttendTask& task, int32_t begin, BlockRows& rows) {
  const KvSource& kv = task.kv;
  constexpr int64_t kBytes = sizeof(typename Kv::Stored);
  rows.begin = begin;
  rows.first = task.key_begin > begin ? task.key_begin - begin : 0;
  rows.last = task.key_end - begin < kBlockKeys ? task.key_end - begin : kBlockKeys;
  int32_t key = rows.first;
  int64_t slot = kv.first_slot + begin + key;
  while (key < rows.last) {
    int64_t run = rows.last - key;
    int64_t page = 0;
    int64_t offset = slot;
    if (kv.pages != nullptr) {
      const int64_t index = slot / kv.page_size;
      page = kv.pages[index];
      offset = slot - index * kv.page_size;
      if (kv.page_size - offset < run) run = kv.page_size - offset;
    }
    const char* k = static_cast<const char*>(kv.k) +
                    (page * kv.k_page_stride + offset * kv.k_token_stride) * kBytes;
    const char* v = static_cast<const char*>(kv.v) +
                    (page * kv.v_page_stride + offset * kv.v_token_stride) * kBytes;
    for (int64_t i = 0; i < run; ++i, ++key) {
      rows.k[key] = k + i * kv.k_token_stride * kBytes;
      rows.v[key] = v + i * kv.v_token_stride * kBytes;
    }
    slot += run;
  }
}

// What comes after the block at hand: the next head's rows of it, or the next block's, line by
// line. Hardware prefetchers do not follow pages and heads. The lines are asked for all along the
// work on a block: in one go they fill the miss buffers, and the work waits for them.
struct Ahead {
  const BlockRows* rows;  // null: nothing
  int64_t k_bytes, v_bytes;
  int64_t k_row, v_row;  // bytes of a row in whole chunks; v_row is 0 where V lies in K
  int32_t key;
  int64_t at;

  // A chunk may end in the next head's row, which is wanted soon too; a prefetch never faults.
  static constexpr int64_t kChunkBytes = 256;

  void prefetch(int32_t chunks) {
    if (rows == nullptr) return;
    for (; chunks > 0 && key < rows->last; --chunks) {
      const char* from =
          at < k_row ? rows->k[key] + k_bytes + at : rows->v[key] + v_bytes + (at - k_row);
      for (int i = 0; i < kChunkBytes; i += 64) __builtin_prefetch(from + i);
      at += kChunkBytes;
      if (at < k_row + v_row) continue;
      at = 0;
      ++key;
    }
  }
};

// Chunks asked for in each transpose, every fourth column of Q * K and every other key of P * V:
// together about as many as a block of 16-bit keys has.
constexpr int32_t kPackChunks = 3;

// kLanes keys, all columns. The last columns go through a copy that ends where the rows do.
template <class Isa, class Kv>
inline void pack_key_group(const typename Kv::Stored* const* rows, int32_t dim, Ahead& ahead,
                           float* panel) {
  using Stored = typename Kv::Stored;
  constexpr int kLanes = Isa::kLanes;
  constexpr int kColumns = Isa::template transpose_columns<Kv>();
  const Stored* at[kLanes];
  int32_t d = 0;
  for (; d + kColumns <= dim; d += kColumns) {
    ahead.prefetch(kPackChunks);
    for (int i = 0; i < kLanes; ++i) at[i] = rows[i] + d;
    Isa::transpose(Kv{}, at, panel + int64_t{d} * kBlockKeys);
  }
  if (d == dim) return;
  Stored staged[kLanes][kColumns] = {};
  for (int i = 0; i < kLanes; ++i) {
    for (int32_t j = 0; j < dim - d; ++j) staged[i][j] = rows[i][d + j];
    at[i] = staged[i];
  }
  Isa::transpose(Kv{}, at, panel + int64_t{d} * kBlockKeys);
}

// Groups without keys are left as they are: their scores are replaced by -inf, never used.
template <class Isa, class Kv>
inline void pack_keys(const BlockRows& rows, int64_t head_bytes, int32_t dim, const float* zeros,
                      Ahead& ahead, float* panel) {
  using Stored = typename Kv::Stored;
  constexpr int kLanes = Isa::kLanes;
  for (int32_t group = 0; group < kBlockKeys; group += kLanes) {
    if (group + kLanes <= rows.first || group >= rows.last) continue;
    const Stored* at[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      const int32_t key = group + i;
      const bool here = key >= rows.first && key < rows.last;
      at[i] = here ? reinterpret_cast<const Stored*>(rows.k[key] + head_bytes)
                   : reinterpret_cast<const Stored*>(zeros);
    }
    pack_key_group<Isa, Kv>(at, dim, ahead, panel + group);
  }
}

// Rows [first, last) of V; the padding columns become zeros.
template <class Isa, class Kv>
inline void pack_values(const BlockRows& rows, int64_t head_bytes, int32_t dim_v, float* panel) {
  using Stored = typename Kv::Stored;
  constexpr int kLanes = Isa::kLanes;
  const int64_t stride = padded(dim_v);
  for (int32_t key = rows.first; key < rows.last; ++key) {
    const Stored* row = reinterpret_cast<const Stored*>(rows.v[key] + head_bytes);
    float* to = panel + key * stride;
    int32_t d = 0;
    for (; d + kLanes <= dim_v; d += kLanes) Isa::load(Kv{}, row + d).store_aligned(to + d);
    if (d < dim_v) {
      load_part<Isa>(Kv{}, row + d, dim_v - d).store_aligned(to + d);
      d += kLanes;
    }
    for (; d < stride; d += kLanes) typename Isa::Vec(0.0f).store_aligned(to + d);
  }
}

// Whether packed values are all finite: x * 0 is 0 exactly for finite x, NaN for all others.
template <class Isa>
inline bool values_finite(const BlockRows& rows, int32_t dim_v, const float* panel) {
  using Vec = typename Isa::Vec;
  const int64_t stride = padded(dim_v);
  Vec bad(0.0f);
  for (int64_t i = rows.first * stride; i < rows.last * stride; i += Isa::kLanes) {
    bad = Isa::fma(Vec::load_aligned(panel + i), Vec(0.0f), bad);
  }
  return Isa::reduce_add(bad) == 0.0f;
}

}  // namespace
}  // namespace attnrt::cpu
