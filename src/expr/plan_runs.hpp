// SPDX-License-Identifier: Apache-2.0
// Run lists: for each tile of query tokens, the ranges of keys that the mask lets some of its rows
// see. Found by bisection from the whole sequence down, so the cost follows the boundary of the
// mask, not its area.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/expr/classify.hpp"

namespace attnrt::expr {

/// Keys [key_begin, key_end) of a tile. Full: every row of the tile sees every key; partial: the
/// mask decides. 8 bytes, because a million tokens in tiles of 32 have 100,000 of them.
class KeyRun {
 public:
  KeyRun() noexcept = default;
  KeyRun(int32_t key_begin, int32_t key_end, bool full) noexcept
      : begin_(key_begin), end_and_full_(static_cast<uint32_t>(key_end) | (full ? kFull : 0)) {}

  [[nodiscard]] int32_t key_begin() const noexcept { return begin_; }
  [[nodiscard]] int32_t key_end() const noexcept {
    return static_cast<int32_t>(end_and_full_ & ~kFull);
  }
  [[nodiscard]] bool full() const noexcept { return (end_and_full_ & kFull) != 0; }

  bool operator==(const KeyRun&) const = default;

 private:
  static constexpr uint32_t kFull = uint32_t{1} << 31;
  int32_t begin_ = 0;
  uint32_t end_and_full_ = 0;
};

/// Runs of many tiles, in order of tiles and keys. Neighbours of one kind are one run. Runs begin
/// and end at multiples of block_keys and at kv_len, or where cropping moved the outer ends.
struct RunList {
  std::vector<KeyRun> runs;
  std::vector<int32_t> tile_end{0};  // runs of tile t: [tile_end[t], tile_end[t + 1])

  // Of each run, where RunRequest::residuals asks for it: the conjuncts (bits, by their number in
  // the tape) that were not proved true; 0 for full runs. The mask there is their conjunction.
  std::vector<uint64_t> undecided;

  [[nodiscard]] int64_t num_tiles() const { return static_cast<int64_t>(tile_end.size()) - 1; }
  [[nodiscard]] std::span<const KeyRun> tile(int64_t t) const {
    const auto index = static_cast<size_t>(t);
    return std::span(runs).subspan(static_cast<size_t>(tile_end[index]),
                                   static_cast<size_t>(tile_end[index + 1] - tile_end[index]));
  }
  [[nodiscard]] int64_t bytes() const {
    return static_cast<int64_t>(runs.size() * sizeof(KeyRun) + tile_end.size() * sizeof(int32_t) +
                                undecided.size() * sizeof(uint64_t));
  }
  void clear() {
    runs.clear();
    undecided.clear();
    tile_end.assign(1, 0);
  }
};

/// Query tokens at logical positions [q_begin, q_end) against keys [0, kv_len).
struct RunRequest {
  int32_t q_begin = 0;
  int32_t q_end = 0;
  int32_t kv_len = 0;
  int32_t tile_tokens = 64;
  int32_t block_keys = 64;  // a power of two
  // Where a block stays undecided but its corners agree, it is cut in four this many times: finds
  // what correlations hide, at up to 20 times the cost of that block.
  int32_t refine_depth = 2;
  // Outer ends of partial runs are moved in by multiples of this, a power of two; 0: they are not.
  int32_t crop_keys = 0;
  // Fill in RunList::undecided. Conjuncts of `decided_elsewhere` never count as undecided there,
  // and blocks that only they leave open are runs of their own.
  bool residuals = false;
  uint64_t decided_elsewhere = 0;
};

/// Appends the runs of each tile. The classifier's sequence is set; its queries and keys change.
void append_runs(TileClassifier& classifier, const RunRequest& request, RunList& out);

/// Heads [h_begin, h_end) that one run list serves.
struct HeadClass {
  int32_t h_begin = 0;
  int32_t h_end = 0;
  int32_t hkv_begin = 0;
  int32_t hkv_end = 0;
};

/// One class when the mask does not ask for the head; else one for each KV head, because the query
/// heads of a group are rows of the same tile.
std::vector<HeadClass> head_classes(const ProgramData& program, int32_t num_heads_q,
                                    int32_t num_heads_kv);

}  // namespace attnrt::expr
