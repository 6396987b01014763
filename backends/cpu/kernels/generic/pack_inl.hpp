// SPDX-License-Identifier: Apache-2.0
// Finding the keys of a block, and packing them as lines where they are not. Only keys that the
// task was given are touched; of rows no byte beyond the row, of packed16 pages whole pieces.
//
// Cost per block at D = 128, 16-bit, AVX-512: about 2,000 cycles for K (a 16 x 16 transpose moves
// 32 dims of 16 keys) and 1,000 for V. Prefill widens packed16 pages at a third of that.
#pragma once

#include "backends/cpu/kernels/generic/ahead_inl.hpp"
#include "backends/cpu/kernels/generic/mask_inl.hpp"

namespace attnrt::cpu {
namespace {

// Keys [first, last) of the block at absolute key `begin`. Packed16: k[i], v[i] are piece i of head
// 0; else row i of head 0. Null where the task has no keys.
struct BlockKeys {
  const char** k;
  const char** v;
  int32_t begin;
  int32_t first, last;
};

inline int64_t element_bytes(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }

// The page, and the slot in it, of a slot of the sequence.
struct PagePlace {
  int64_t page;
  int64_t slot;
};
inline PagePlace page_place(const KvSource& kv, int64_t slot) {
  if (kv.pages == nullptr) return {0, slot};
  const int64_t index = slot / kv.page_size;
  return {kv.pages[index], slot - index * kv.page_size};
}

inline void find_pieces(const KvSource& kv, BlockKeys& keys) {
  const int64_t bytes = element_bytes(kv.dtype);
  const int64_t dim = padded(kv.head_dim);
  const int64_t dim_v = padded(kv.head_dim_v);
  for (int32_t i = keys.first / kLineColumns; i * kLineColumns < keys.last; ++i) {
    const PagePlace at = page_place(kv, kv.first_slot + keys.begin + i * kLineColumns);
    const int64_t in_group = at.slot % kv.v_group;
    keys.k[i] =
        static_cast<const char*>(kv.k) + (at.page * kv.k_page_stride + at.slot * dim) * bytes;
    keys.v[i] =
        static_cast<const char*>(kv.v) +
        (at.page * kv.v_page_stride + (at.slot - in_group) * dim_v + in_group * kLineColumns) *
            bytes;
  }
}

inline void find_rows(const KvSource& kv, BlockKeys& keys) {
  const int64_t bytes = element_bytes(kv.dtype);
  for (int32_t key = keys.first; key < keys.last;) {
    const PagePlace at = page_place(kv, kv.first_slot + keys.begin + key);
    int64_t run = keys.last - key;
    if (kv.pages != nullptr && kv.page_size - at.slot < run) run = kv.page_size - at.slot;
    const char* k = static_cast<const char*>(kv.k) +
                    (at.page * kv.k_page_stride + at.slot * kv.k_token_stride) * bytes;
    const char* v = static_cast<const char*>(kv.v) +
                    (at.page * kv.v_page_stride + at.slot * kv.v_token_stride) * bytes;
    for (int64_t i = 0; i < run; ++i, ++key) {
      keys.k[key] = k + i * kv.k_token_stride * bytes;
      keys.v[key] = v + i * kv.v_token_stride * bytes;
    }
  }
}

// Finds keys [first, last) of a block through the page list; page_size need not divide anything.
inline void find_keys(const AttendTask& task, const BlockLanes& block, BlockKeys& keys) {
  keys.begin = block.begin;
  keys.first = block.first;
  keys.last = block.last;
  if (task.kv.packed16) {
    find_pieces(task.kv, keys);
  } else {
    find_rows(task.kv, keys);
  }
}

// Stores the transposed lanes of one part of a piece: pair[i] is dword i of kLanes keys.
template <class Isa, class Lines, class Kv>
inline void put_keys(const typename Isa::Vec* pair, int32_t dword, int part,
                     typename Lines::Stored* to) {
  using Vec = typename Isa::Vec;
  constexpr int kLanes = Isa::kLanes;
  for (int i = 0; i < kLanes; ++i) {
    const int32_t at = dword + i;
    if constexpr (sizeof(typename Kv::Stored) == 4 || Lines::kInterleave == 2) {
      Isa::store_bits(pair[i], to + (at * kLineColumns + part * kLanes) * Lines::kInterleave);
    } else if constexpr (sizeof(typename Lines::Stored) == 4) {
      Vec low, high;
      Isa::widen_pairs(Kv{}, pair[i], low, high);
      low.store_aligned(to + 2 * at * kLineColumns + part * kLanes);
      high.store_aligned(to + (2 * at + 1) * kLineColumns + part * kLanes);
    } else {
      Isa::split_pairs(pair[i], to + 2 * at * kLineColumns + part * kLanes,
                       to + (2 * at + 1) * kLineColumns + part * kLanes);
    }
  }
}

// kLanes x kLanes dwords of kLanes keys, from row pointers at the first of them on.
template <class Isa, class Lines, class Kv>
inline void pack_key_square(const float* const* rows, int32_t dword, int part,
                            typename Lines::Stored* to) {
  typename Isa::Vec pair[Isa::kLanes];
  Isa::transpose(rows, pair);
  put_keys<Isa, Lines, Kv>(pair, dword, part, to);
}

// Rows of one piece of K, from the head's first dim on, to its lines. The last dims go through a
// copy that ends where the rows do; padding dims become 0.
template <class Isa, class Lines, class Kv, class AheadT>
inline void pack_key_piece(const char* const* rows, int32_t dim, AheadT& ahead,
                           typename Lines::Stored* to) {
  using Stored = typename Kv::Stored;
  constexpr int kLanes = Isa::kLanes;
  constexpr int kDims = kLanes * 4 / static_cast<int>(sizeof(Stored));
  const float* at[kLanes];
  int32_t d = 0;
  for (; d + kDims <= dim; d += kDims) {
    for (int part = 0; part < parts<Isa>(); ++part) {
      ahead.template packed<kLanes * kLanes / 16>();
      for (int i = 0; i < kLanes; ++i) {
        const auto* row = reinterpret_cast<const Stored*>(rows[part * kLanes + i]) + d;
        at[i] = reinterpret_cast<const float*>(row);
      }
      pack_key_square<Isa, Lines, Kv>(at, d / kDims * kLanes, part, to);
    }
  }
  for (; d < padded(dim); d += kDims) {
    for (int part = 0; part < parts<Isa>(); ++part) {
      Stored staged[kLanes][kDims] = {};
      for (int i = 0; i < kLanes; ++i) {
        const auto* row = reinterpret_cast<const Stored*>(rows[part * kLanes + i]);
        for (int j = 0; j < kDims && d + j < dim; ++j) staged[i][j] = row[d + j];
        at[i] = reinterpret_cast<const float*>(staged[i]);
      }
      pack_key_square<Isa, Lines, Kv>(at, d / kDims * kLanes, part, to);
    }
  }
}

// 16 dims of one row of V, or of two that share lines.
template <class Isa, class Lines, class Kv>
inline void pack_value_line(const typename Kv::Stored* const* rows, typename Lines::Stored* to) {
  if constexpr (Lines::kInterleave == 2) {
    Isa::interleave(rows[0], rows[1], to);
  } else if constexpr (sizeof(typename Lines::Stored) == sizeof(typename Kv::Stored)) {
    __builtin_memcpy(to, rows[0], kLineColumns * sizeof(typename Kv::Stored));
  } else {
    for (int i = 0; i < kLineColumns; i += Isa::kLanes) {
      Isa::load(Kv{}, rows[0] + i).store_aligned(to + i);
    }
  }
}

// Rows [first, last) of the block's V to lines; keys beside them in a line, and padding dims,
// become 0. `zeros` has a row of them.
template <class Isa, class Lines, class Kv, class AheadT>
inline void pack_value_rows(const BlockKeys& keys, int64_t head_bytes, int32_t dim_v,
                            const char* zeros, AheadT& ahead, typename Lines::Stored* to) {
  using Stored = typename Kv::Stored;
  constexpr int32_t kKeys = Lines::kInterleave;
  constexpr int64_t kStride = int64_t{kBlockKeys} * kLineColumns;
  for (int32_t key = keys.first / kKeys * kKeys; key < keys.last; key += kKeys) {
    const Stored* rows[kKeys];
    for (int32_t i = 0; i < kKeys; ++i) {
      const bool here = key + i >= keys.first && key + i < keys.last;
      rows[i] = reinterpret_cast<const Stored*>(here ? keys.v[key + i] + head_bytes : zeros);
    }
    typename Lines::Stored* line = to + int64_t{key} * kLineColumns;
    int32_t d = 0;
    for (; d + kLineColumns <= dim_v; d += kLineColumns, line += kStride) {
      if (d % 64 == 0) ahead.template packed<kKeys* static_cast<int>(sizeof(Stored))>();
      pack_value_line<Isa, Lines, Kv>(rows, line);
      for (auto& row : rows) row += kLineColumns;
    }
    if (d == dim_v) continue;
    Stored staged[kKeys][kLineColumns] = {};
    for (int32_t i = 0; i < kKeys; ++i) {
      for (int j = 0; d + j < dim_v; ++j) staged[i][j] = rows[i][j];
      rows[i] = staged[i];
    }
    pack_value_line<Isa, Lines, Kv>(rows, line);
  }
}

// `count` lines of packed16, f32 from 16-bit. Lines of bf16 hold two steps: twice as many come out.
template <class Isa, class Kv>
inline void widen_lines(const uint16_t* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    for (int part = 0; part < parts<Isa>(); ++part) {
      if constexpr (IsBf16<Kv>::value) {
        Isa::template line<0, 3>(Bf16Lines{}, from, part).store_aligned(to + part * Isa::kLanes);
        Isa::template line<1, 3>(Bf16Lines{}, from, part)
            .store_aligned(to + kLineColumns + part * Isa::kLanes);
      } else {
        Isa::template line<0, 3>(F16Lines{}, from, part).store_aligned(to + part * Isa::kLanes);
      }
    }
    from += IsBf16<Kv>::value ? 2 * kLineColumns : kLineColumns;
    to += IsBf16<Kv>::value ? 2 * kLineColumns : kLineColumns;
  }
}

// Packs a block of one head into scratch as `Lines`, and says where its pieces are.
template <class Isa, class Lines, class Kv>
class BlockPacker {
 public:
  using Stored = typename Lines::Stored;
  BlockPacker(const KvSource& kv, float* key_lines, float* value_lines, const float* zeros)
      : kv_(kv),
        key_lines_(reinterpret_cast<Stored*>(key_lines)),
        value_lines_(reinterpret_cast<Stored*>(value_lines)),
        zeros_(reinterpret_cast<const char*>(zeros)) {}

  // Lines of packed16 pages as they are, where they are.
  void in_place(const BlockKeys& keys, int64_t k_bytes, int64_t v_bytes,
                KvBlock<Lines>& block) const {
    for (int32_t i = keys.first / kLineColumns; i * kLineColumns < keys.last; ++i) {
      block.k[i] = reinterpret_cast<const Stored*>(keys.k[i] + k_bytes);
      block.v[i] = reinterpret_cast<const Stored*>(keys.v[i] + v_bytes);
    }
    block.v_stride = int64_t{kv_.v_group} * kLineColumns;
  }

  template <class AheadT>
  void pack_keys(const BlockKeys& keys, int64_t k_bytes, AheadT& ahead,
                 KvBlock<Lines>& block) const {
    block.v_stride = int64_t{kBlockKeys} * kLineColumns;
    const int64_t dim = padded(kv_.head_dim);
    for (int32_t i = 0; i < kPieces; ++i) {
      block.k[i] = key_lines_ + i * kLineColumns * dim;
      block.v[i] = value_lines_ + int64_t{i} * kLineColumns * kLineColumns;
    }
    for (int32_t i = keys.first / kLineColumns; i * kLineColumns < keys.last; ++i) {
      Stored* to = key_lines_ + i * kLineColumns * dim;
      if (kv_.packed16) {
        widen_keys(keys.k[i] + k_bytes, to);
      } else {
        pack_key_rows(keys, i * kLineColumns, k_bytes, ahead, to);
      }
    }
  }

  template <class AheadT>
  void pack_values(const BlockKeys& keys, int64_t v_bytes, AheadT& ahead) const {
    if (!kv_.packed16) {
      pack_value_rows<Isa, Lines, Kv>(keys, v_bytes, kv_.head_dim_v, zeros_, ahead, value_lines_);
      return;
    }
    for (int32_t i = keys.first / kLineColumns; i * kLineColumns < keys.last; ++i) {
      widen_values(keys.v[i] + v_bytes, i);
    }
  }

  // `count` pieces of rows from `begin` on, to where those of the portion before were.
  template <class AheadT>
  void pack_key_portion(const BlockKeys& keys, int64_t k_bytes, int32_t begin, int32_t count,
                        AheadT& ahead, KvBlock<Lines>& block) const {
    Stored* to = key_lines_;
    for (int32_t i = begin; i < begin + count; ++i, to += kLineColumns * padded(kv_.head_dim)) {
      block.k[i] = to;
      if (i < keys.first / kLineColumns || i * kLineColumns >= keys.last) continue;
      pack_key_rows(keys, i * kLineColumns, k_bytes, ahead, to);
    }
  }

  // Dims [16 * column, + 16 * count) of V's rows, as dims from 0 on.
  template <class AheadT>
  void pack_value_portion(const BlockKeys& keys, int64_t v_bytes, int32_t column, int32_t count,
                          AheadT& ahead, KvBlock<Lines>& block) const {
    block.v_stride = int64_t{kBlockKeys} * kLineColumns;
    for (int32_t i = 0; i < kPieces; ++i) {
      block.v[i] = value_lines_ + int64_t{i} * kLineColumns * kLineColumns;
    }
    const int32_t begin = column * kLineColumns;
    const int32_t left = kv_.head_dim_v - begin;
    const int32_t dims = left < count * kLineColumns ? left : count * kLineColumns;
    const int64_t bytes = v_bytes + begin * static_cast<int64_t>(sizeof(typename Kv::Stored));
    pack_value_rows<Isa, Lines, Kv>(keys, bytes, dims, zeros_, ahead, value_lines_);
  }

 private:
  template <class AheadT>
  void pack_key_rows(const BlockKeys& keys, int32_t begin, int64_t k_bytes, AheadT& ahead,
                     Stored* to) const {
    const char* rows[kLineColumns];
    for (int i = 0; i < kLineColumns; ++i) {
      const int32_t key = begin + i;
      const bool here = key >= keys.first && key < keys.last;
      rows[i] = here ? keys.k[key] + k_bytes : zeros_;
    }
    pack_key_piece<Isa, Lines, Kv>(rows, kv_.head_dim, ahead, to);
  }

  // Only 16-bit pages become other lines, f32 ones.
  static constexpr int64_t kSteps = IsBf16<Kv>::value ? 2 : 1;
  void widen_keys(const char* k, Stored* to) const {
    if constexpr (sizeof(Stored) > sizeof(typename Kv::Stored)) {
      widen_lines<Isa, Kv>(reinterpret_cast<const uint16_t*>(k), padded(kv_.head_dim) / kSteps, to);
    }
  }

  void widen_values(const char* v, int32_t piece) const {
    if constexpr (sizeof(Stored) > sizeof(typename Kv::Stored)) {
      for (int64_t column = 0; column < padded(kv_.head_dim_v) / kLineColumns; ++column) {
        const auto* from =
            reinterpret_cast<const uint16_t*>(v) + column * kv_.v_group * kLineColumns;
        Stored* lines = value_lines_ + (column * kBlockKeys + piece * kLineColumns) * kLineColumns;
        widen_lines<Isa, Kv>(from, kLineColumns / kSteps, lines);
      }
    }
  }

  const KvSource& kv_;
  Stored* key_lines_;
  Stored* value_lines_;
  const char* zeros_;
};

}  // namespace
}  // namespace attnrt::cpu
