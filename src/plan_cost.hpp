// SPDX-License-Identifier: Apache-2.0
// What a piece of a plan costs: the time to read its K and V plus the time of its multiply-adds.
// The one cost that plans, executors and the simulation count in; it decides sizes and order of
// work, never a result.
#pragma once

#include <cstdint>

namespace attnrt {

/// Costs are counted in rows x keys: the multiply-adds of one row with K and V of one key. To bring
/// K and V of a key from memory takes as long as this many rows: 512 bytes of bf16 at 20 to 40 GB/s
/// of a core are 13 to 26 ns, 256 multiply-adds at 140 G/s 1.8 ns. Packing a row-major block of
/// keys costs about as much again, but only tall tiles do that, where it does not matter.
inline constexpr int64_t kReadRows = 8;

/// What starts and ends a piece (q in, results out), in keys.
inline constexpr int64_t kStartKeys = 16;

/// To store one unmerged row of one split and to fold it, in keys of one row: 2 x (128 + 2) floats
/// are twice the bytes of K and V of a key, which are kReadRows.
inline constexpr int64_t kMergeKeys = 16;

/// One KV head of `rows` rows over `keys` keys.
constexpr int64_t attend_cost(int64_t rows, int64_t keys) noexcept {
  return (rows + kReadRows) * (keys + kStartKeys);
}

/// One KV head of `rows` rows, folded from `splits` splits.
constexpr int64_t merge_cost(int64_t rows, int64_t splits) noexcept {
  return rows * splits * kMergeKeys;
}

}  // namespace attnrt
