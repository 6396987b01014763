// SPDX-License-Identifier: Apache-2.0
// Where the register tiles find a block of K and V of one head: in packed16 pages, or packed into
// scratch; and what is asked for meanwhile.
#pragma once

#include "backends/cpu/kernels/generic/pack_inl.hpp"
#include "backends/cpu/kernels/generic/workspace_inl.hpp"

namespace attnrt::cpu {
namespace {

// Columns of a product (pieces of keys, or 16 head dims) that stay in L1 while all tiles pass.
constexpr int32_t kColumnsAtOnce = 4;

// kTiles: multiplied by register tiles, not by whole matrices.
template <class Isa, class Lines, class Kv, bool kTiles>
class BlockSource {
  using Stored = typename Lines::Stored;
  // Lines of packed16 pages are read where they are.
  static constexpr bool kInPlace = sizeof(Stored) == sizeof(typename Kv::Stored);
  static constexpr int32_t kLinesOf64Bytes =
      64 / static_cast<int32_t>(line_elements<Lines>() * sizeof(typename Kv::Stored));

 public:
  // few_rows: they pass at once.
  BlockSource(const AttendTask& task, const Workspace<Lines>& w, bool few_rows)
      : task_(task),
        rows_(task.tokens * task.group),
        branches_(1 + task.more_branches),
        packer_(task.kv, w.key_lines, w.value_lines, w.zeros),
        portions_(kTiles && few_rows && !task.kv.packed16 && branches_ == 1) {}

  // Of row-major pages only whole tokens are asked for closely.
  void begin_heads(int32_t head, int32_t count) {
    const KvSource& kv = task_.kv;
    const bool tokens = count * kv.head_dim == kv.k_token_stride &&
                        count * kv.head_dim_v == kv.v_token_stride && branches_ == 1;
    head_ = head;
    closely_ = kTiles && task_.close && (kv.packed16 ? kInPlace : tokens);
  }

  // Bytes from head 0 of a key to that of the heads walked together.
  [[nodiscard]] int64_t k_offset(int32_t head) const {
    const int32_t branch = head % branches_;
    return (head_ + head / branches_) * task_.kv.k_head_stride *
               static_cast<int64_t>(sizeof(typename Kv::Stored)) +
           (branch == 0 ? 0 : task_.branches[branch - 1].k_bytes);
  }
  [[nodiscard]] int64_t v_offset(int32_t head) const {
    return (head_ + head / branches_) * task_.kv.v_head_stride *
           static_cast<int64_t>(sizeof(typename Kv::Stored));
  }

  // What comes after the block at hand, asked for meanwhile: head by head, or else closely.
  Ahead ahead_k, ahead_v;
  [[nodiscard]] bool closely() const { return closely_; }
  // Null, or what the tiles of the rows from `chunk` on ask by: others find all in L1 or L2.
  [[nodiscard]] AheadClose* close_of(int32_t chunk) {
    return closely_ && chunk == 0 ? &close_ : nullptr;
  }
  void start_close(const LineRun* first, const LineRun* again) {
    constexpr int32_t kWidened = Lines::kDot || sizeof(Stored) == sizeof(float) ? 0 : 1;
    const int32_t vectors = (rows_ + kWidened) * Lines::kProducts * parts<Isa>();
    close_.start(first, again, vectors * kLinesOf64Bytes);
  }
  void start_close(const LineRun* rows) { close_.start(rows); }

  void begin(const BlockKeys& keys, int32_t head, KvBlock<Lines>& block) {
    portion_keys_ = nullptr;
    if (task_.kv.packed16 && kInPlace) {
      packer_.in_place(keys, k_offset(head), v_offset(head), block);
    } else if (!portions_) {
      pack(keys, head, block);
    }
  }

  // All `rows` of a chunk stand in `count` tiles; uniform: each sees the same keys.
  void begin_chunk(const BlockKeys& keys, int32_t head, int32_t count, int32_t rows, bool uniform,
                   KvBlock<Lines>& block) {
    close_.share((task_.kv.packed16 ? 0 : 1) + count * kLinesOf64Bytes, rows);
    if (!portions_) return;
    if (uniform) {
      portion_keys_ = &keys;
    } else {
      pack(keys, head, block);
    }
  }

  // Rows are packed a few columns at a time, just before these are multiplied: all of K and V as
  // lines does not fit L1. NHD, group 4, GB/s, at once and so: in L2 24.2, 26.6, cold 16.1, 19.6.
  void begin_scores(int32_t head, int32_t begin, KvBlock<Lines>& block) {
    with_portion(ahead_k, [&](const BlockKeys& keys, auto& ahead) {
      packer_.pack_key_portion(keys, k_offset(head), begin, kColumnsAtOnce, ahead, block);
    });
  }
  // Returns where these columns stand in the block.
  int32_t begin_values(int32_t head, int32_t begin, int32_t count, KvBlock<Lines>& block) {
    with_portion(ahead_v, [&](const BlockKeys& keys, auto& ahead) {
      packer_.pack_value_portion(keys, v_offset(head), begin, count, ahead, block);
    });
    return portion_keys_ != nullptr ? 0 : begin;
  }

 private:
  template <class Pack>
  void with_portion(Ahead& ahead, const Pack& pack) {
    if (portion_keys_ == nullptr) return;
    if (closely_) {
      pack(*portion_keys_, close_);
    } else {
      pack(*portion_keys_, ahead);
    }
  }

  // Branches find V as the first one packed it.
  void pack(const BlockKeys& keys, int32_t head, KvBlock<Lines>& block) {
    const bool values = head % branches_ == 0;
    if (closely_) {
      packer_.pack_keys(keys, k_offset(head), close_, block);
      if (values) packer_.pack_values(keys, v_offset(head), close_);
    } else {
      packer_.pack_keys(keys, k_offset(head), ahead_k, block);
      if (values) packer_.pack_values(keys, v_offset(head), ahead_v);
    }
  }

  const AttendTask& task_;
  const int32_t rows_;  // of one KV head and branch
  const int32_t branches_;
  const BlockPacker<Isa, Lines, Kv> packer_;
  const bool portions_;
  bool closely_ = false;
  int32_t head_ = 0;
  AheadClose close_;
  const BlockKeys* portion_keys_ = nullptr;  // of the block at hand, where it is packed in portions
};

}  // namespace
}  // namespace attnrt::cpu
