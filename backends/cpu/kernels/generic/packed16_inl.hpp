// SPDX-License-Identifier: Apache-2.0
// Row-major keys to packed16 lines and back: transposes of 16 keys. Bits are moved, never
// converted. 128-bit vectors on every CPU: 8 shuffles per 64-byte line are faster than memory
// already.
#pragma once

#include "backends/cpu/kernels/kernel_table.hpp"

namespace attnrt::cpu {
namespace {

using U16x8 = uint16_t __attribute__((vector_size(16)));
using U32x4 = uint32_t __attribute__((vector_size(16)));
using U64x2 = uint64_t __attribute__((vector_size(16)));

constexpr int kGroupKeys = 16;

template <class V>
inline V load_vector(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class V>
inline void store_vector(void* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}

inline void transpose_4x4(U32x4* r) {
  const U32x4 a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
  const U32x4 b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  const U32x4 c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  const U32x4 d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = U32x4(__builtin_shufflevector(U64x2(a), U64x2(c), 0, 2));
  r[1] = U32x4(__builtin_shufflevector(U64x2(a), U64x2(c), 1, 3));
  r[2] = U32x4(__builtin_shufflevector(U64x2(b), U64x2(d), 0, 2));
  r[3] = U32x4(__builtin_shufflevector(U64x2(b), U64x2(d), 1, 3));
}

inline U16x8 zip_low(U16x8 a, U16x8 b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
inline U16x8 zip_high(U16x8 a, U16x8 b) {
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

inline void zip_rows(const U16x8* r, U16x8* x) {
  x[0] = zip_low(r[0], r[4]);
  x[1] = zip_high(r[0], r[4]);
  x[2] = zip_low(r[1], r[5]);
  x[3] = zip_high(r[1], r[5]);
  x[4] = zip_low(r[2], r[6]);
  x[5] = zip_high(r[2], r[6]);
  x[6] = zip_low(r[3], r[7]);
  x[7] = zip_high(r[3], r[7]);
}

inline void transpose_8x8(U16x8* r) {
  U16x8 x[8];
  zip_rows(r, x);
  zip_rows(x, r);
  zip_rows(r, x);
  for (int i = 0; i < 8; ++i) r[i] = x[i];
}

// Rows are often a multiple of 2 KB apart, where 16 of them do not fit into the ways of L1: so
// their lines are used up one after the other.
constexpr int64_t kLineBytes = 64;

// K as [words][16 keys]: the pairs of bf16, the elements of f32.
inline void pack_words(const void* const* rows, int64_t words, uint32_t* group) {
  constexpr int64_t kStep = kLineBytes / 4;
  for (int64_t line = 0; line < words; line += kStep) {
    const int64_t end = words - line < kStep ? words : line + kStep;
    for (int key = 0; key < kGroupKeys; key += 4) {
      for (int64_t w = line; w < end; w += 4) {
        U32x4 r[4];
        for (int i = 0; i < 4; ++i) {
          r[i] = load_vector<U32x4>(static_cast<const char*>(rows[key + i]) + w * 4);
        }
        transpose_4x4(r);
        for (int i = 0; i < 4; ++i) store_vector(group + (w + i) * kGroupKeys + key, r[i]);
      }
    }
  }
}

inline void unpack_words(const uint32_t* group, int64_t words, void* const* rows) {
  constexpr int64_t kStep = kLineBytes / 4;
  for (int64_t line = 0; line < words; line += kStep) {
    const int64_t end = words - line < kStep ? words : line + kStep;
    for (int key = 0; key < kGroupKeys; key += 4) {
      for (int64_t w = line; w < end; w += 4) {
        U32x4 r[4];
        for (int i = 0; i < 4; ++i) r[i] = load_vector<U32x4>(group + (w + i) * kGroupKeys + key);
        transpose_4x4(r);
        for (int i = 0; i < 4; ++i) {
          store_vector(static_cast<char*>(rows[key + i]) + w * 4, r[i]);
        }
      }
    }
  }
}

// K of f16 as [columns][16 keys].
inline void pack_halves(const void* const* rows, int64_t columns, uint16_t* group) {
  constexpr int64_t kStep = kLineBytes / 2;
  for (int64_t line = 0; line < columns; line += kStep) {
    const int64_t end = columns - line < kStep ? columns : line + kStep;
    for (int key = 0; key < kGroupKeys; key += 8) {
      for (int64_t d = line; d < end; d += 8) {
        U16x8 r[8];
        for (int i = 0; i < 8; ++i) {
          r[i] = load_vector<U16x8>(static_cast<const uint16_t*>(rows[key + i]) + d);
        }
        transpose_8x8(r);
        for (int i = 0; i < 8; ++i) store_vector(group + (d + i) * kGroupKeys + key, r[i]);
      }
    }
  }
}

inline void unpack_halves(const uint16_t* group, int64_t columns, void* const* rows) {
  constexpr int64_t kStep = kLineBytes / 2;
  for (int64_t line = 0; line < columns; line += kStep) {
    const int64_t end = columns - line < kStep ? columns : line + kStep;
    for (int key = 0; key < kGroupKeys; key += 8) {
      for (int64_t d = line; d < end; d += 8) {
        U16x8 r[8];
        for (int i = 0; i < 8; ++i) r[i] = load_vector<U16x8>(group + (d + i) * kGroupKeys + key);
        transpose_8x8(r);
        for (int i = 0; i < 8; ++i) store_vector(static_cast<uint16_t*>(rows[key + i]) + d, r[i]);
      }
    }
  }
}

// V of bf16: 16 columns of two keys become one line of pairs. Blocks of 16 columns are v_keys * 16
// elements apart.
inline void pack_pairs(const void* const* rows, int64_t columns, int32_t v_keys, uint16_t* group) {
  for (int key = 0; key < kGroupKeys; key += 2) {
    const auto* even = static_cast<const uint16_t*>(rows[key]);
    const auto* odd = static_cast<const uint16_t*>(rows[key + 1]);
    for (int64_t d = 0; d < columns; d += 16) {
      uint16_t* line = group + d * v_keys + key * 16;
      for (int half = 0; half < 16; half += 8) {
        const U16x8 a = load_vector<U16x8>(even + d + half);
        const U16x8 b = load_vector<U16x8>(odd + d + half);
        store_vector(line + half * 2, zip_low(a, b));
        store_vector(line + half * 2 + 8, zip_high(a, b));
      }
    }
  }
}

inline void unpack_pairs(const uint16_t* group, int64_t columns, int32_t v_keys,
                         void* const* rows) {
  for (int key = 0; key < kGroupKeys; key += 2) {
    auto* even = static_cast<uint16_t*>(rows[key]);
    auto* odd = static_cast<uint16_t*>(rows[key + 1]);
    for (int64_t d = 0; d < columns; d += 16) {
      const uint16_t* line = group + d * v_keys + key * 16;
      for (int half = 0; half < 16; half += 8) {
        const U16x8 a = load_vector<U16x8>(line + half * 2);
        const U16x8 b = load_vector<U16x8>(line + half * 2 + 8);
        store_vector(even + d + half, __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14));
        store_vector(odd + d + half, __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15));
      }
    }
  }
}

// V of f32 and f16: 16 columns of a key stay together.
template <class T>
inline void pack_blocks(const void* const* rows, int64_t columns, int32_t v_keys, void* group) {
  for (int key = 0; key < kGroupKeys; ++key) {
    const T* row = static_cast<const T*>(rows[key]);
    T* to = static_cast<T*>(group) + key * 16;
    for (int64_t d = 0; d < columns; d += 16) {
      __builtin_memcpy(to + d * v_keys, row + d, 16 * sizeof(T));
    }
  }
}

template <class T>
inline void unpack_blocks(const void* group, int64_t columns, int32_t v_keys, void* const* rows) {
  for (int key = 0; key < kGroupKeys; ++key) {
    T* row = static_cast<T*>(rows[key]);
    const T* from = static_cast<const T*>(group) + key * 16;
    for (int64_t d = 0; d < columns; d += 16) {
      __builtin_memcpy(row + d, from + d * v_keys, 16 * sizeof(T));
    }
  }
}

// One key of a group, element by element: other keys of it may be written at the same time.
template <class T>
inline void put_key(const GroupTask& task, const void* row, int32_t lane) {
  const auto* from = static_cast<const T*>(row);
  auto* group = static_cast<T*>(task.group);
  if (!task.is_v) {
    for (int64_t d = 0; d < task.columns; ++d) group[d * kGroupKeys + lane] = from[d];
    return;
  }
  const int64_t step = task.dtype == DType::kBF16 ? 2 : 1;
  T* to = group + (step == 2 ? lane / 2 * 32 + lane % 2 : lane * 16);
  for (int64_t d = 0; d < task.columns; d += 16, from += 16, to += 16 * task.v_keys) {
    for (int64_t i = 0; i < 16; ++i) to[i * step] = from[i];
  }
}

// The pairs of bf16 K are words.
inline void put_pairs(const GroupTask& task, const void* row, int32_t lane) {
  auto* to = static_cast<uint16_t*>(task.group) + lane * 2;
  for (int64_t d = 0; d < task.columns; d += 2) {
    __builtin_memcpy(to + d * kGroupKeys, static_cast<const uint16_t*>(row) + d, 4);
  }
}

inline void put_keys(const GroupTask& task) {
  for (int32_t i = 0; i < task.count; ++i) {
    if (task.dtype == DType::kF32) {
      put_key<uint32_t>(task, task.rows[i], task.first + i);
    } else if (task.dtype == DType::kBF16 && !task.is_v) {
      put_pairs(task, task.rows[i], task.first + i);
    } else {
      put_key<uint16_t>(task, task.rows[i], task.first + i);
    }
  }
}

void pack_group(const GroupTask& task) {
  const bool wide = task.dtype == DType::kF32;
  if (task.count < kGroupKeys) {
    put_keys(task);
  } else if (!task.is_v && task.dtype == DType::kF16) {
    pack_halves(task.rows, task.columns, static_cast<uint16_t*>(task.group));
  } else if (!task.is_v) {
    const int64_t words = wide ? task.columns : task.columns / 2;
    pack_words(task.rows, words, static_cast<uint32_t*>(task.group));
  } else if (task.dtype == DType::kBF16) {
    pack_pairs(task.rows, task.columns, task.v_keys, static_cast<uint16_t*>(task.group));
  } else if (wide) {
    pack_blocks<uint32_t>(task.rows, task.columns, task.v_keys, task.group);
  } else {
    pack_blocks<uint16_t>(task.rows, task.columns, task.v_keys, task.group);
  }
}

void unpack_group(const UngroupTask& task) {
  const bool wide = task.dtype == DType::kF32;
  if (!task.is_v && task.dtype == DType::kF16) {
    unpack_halves(static_cast<const uint16_t*>(task.group), task.columns, task.rows);
  } else if (!task.is_v) {
    const int64_t words = wide ? task.columns : task.columns / 2;
    unpack_words(static_cast<const uint32_t*>(task.group), words, task.rows);
  } else if (task.dtype == DType::kBF16) {
    unpack_pairs(static_cast<const uint16_t*>(task.group), task.columns, task.v_keys, task.rows);
  } else if (wide) {
    unpack_blocks<uint32_t>(task.group, task.columns, task.v_keys, task.rows);
  } else {
    unpack_blocks<uint16_t>(task.group, task.columns, task.v_keys, task.rows);
  }
}

}  // namespace
}  // namespace attnrt::cpu
