// SPDX-License-Identifier: Apache-2.0
// Copies of one call's K and V that are used in turn, so that every call finds its keys in memory
// and not in a cache, as the layers of a model do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "attnrt/kv_cache.hpp"
#include "perf/sweep_grid.hpp"

namespace attnrt::perf {

/// When KV counts as cold.
struct ColdRule {
  int64_t llc_bytes = 0;       // last-level cache
  int64_t rotation_bytes = 0;  // what a full turn should read; rotation_bytes_for() of the cache
  int64_t budget_bytes = 0;    // memory that the copies may take
};

/// Eight times the last-level cache, at least 512 MB: with random or hashed replacement a line
/// survives a turn of n caches with a probability of about exp(-n).
int64_t rotation_bytes_for(int64_t llc_bytes);

/// Copies for K and V of `copy_bytes`, of which a call reads `read_bytes`: enough for a turn of
/// rule.rotation_bytes and of two caches, fewer where the budget says so. 0 where that leaves less
/// than two caches: then it cannot be measured cold. The number is odd where more than two, so that
/// the distance of a copy's pages is no power of two and they spread over all sets of a cache.
int64_t choose_copies(int64_t copy_bytes, int64_t read_bytes, const ColdRule& rule);

/// Bytes of all keys and values of one call, whole pages counted.
int64_t kv_copy_bytes(const SweepCase& sweep_case);

/// The copies within one piece of memory. Pages of different copies are interleaved and a copy's
/// pages are used in random order, so a call jumps through all of the memory as it does in a cache
/// that has been in use for a while. Packed copies stand one after the other.
class KvRotation {
 public:
  KvRotation(const SweepCase& sweep_case, int64_t copies);

  /// Memory that all copies need together.
  [[nodiscard]] int64_t total_bytes() const { return copies_ * kv_copy_bytes(case_); }
  [[nodiscard]] int64_t copies() const { return copies_; }

  /// [batch, pages of a sequence], shuffled; the same for every copy. Empty when packed.
  [[nodiscard]] const std::vector<int32_t>& pages() const { return pages_; }
  [[nodiscard]] int32_t pages_per_sequence() const { return pages_per_sequence_; }

  /// K and V of copy `index` within `memory`, which has total_bytes().
  [[nodiscard]] KvView view(std::byte* memory, int64_t index) const;

 private:
  SweepCase case_;
  int64_t copies_;
  int32_t pages_per_sequence_ = 0;
  int64_t element_bytes_;
  int64_t units_ = 1;   // pages of a copy, or 1 when packed
  int64_t k_unit_ = 0;  // elements of K in a unit
  int64_t v_unit_ = 0;
  std::vector<int32_t> pages_;
};

}  // namespace attnrt::perf
