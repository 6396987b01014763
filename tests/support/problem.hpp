// SPDX-License-Identifier: Apache-2.0
// Random attention problems. An element's value depends on the seed, its sequence's id and its
// place in that sequence only, so the same keys can be laid out in pages of any size, packed, cut
// into chunks or shards, or put beside other sequences, and compared bit for bit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "attnrt/attnrt.hpp"
#include "tests/support/aligned_bytes.hpp"

namespace attnrt::test {

struct SequenceShape {
  int32_t q_len = 1;
  int32_t kv_len = 1;
  std::optional<int32_t> q_start{};  // default kv_len - q_len
  int32_t leftpad = 0;               // slots before key 0, poisoned; packed16: a multiple of 16
  int32_t spare = 0;                 // slots after the last key, poisoned
  int32_t id = -1;                   // default: its number in the batch
  int32_t first_token = 0;           // number of the first query token, for chunks
  int32_t first_key = 0;             // number of the first key, for shards
};

enum class Rotary : uint8_t { kNone, kHalves, kInterleaved };

struct ProblemShape {
  AttentionSpec spec;
  std::vector<SequenceShape> sequences;
  DType q_dtype = DType::kF32;
  DType kv_dtype = DType::kF32;
  DType out_dtype = DType::kF32;
  KvLayout layout = KvLayout::kNHD;
  int32_t page_size = 16;
  bool csr = false;            // block table as CSR; without spare slots, lengths from it too
  bool mla = false;            // V is a prefix of K
  bool padded = false;         // gaps between rows of q, K, V and out; packed16: K and V apart
  bool alibi_per_seq = false;  // slopes (batch * Hq)
  Rotary rotary = Rotary::kNone;
  bool rotary_constant = false;
  bool gate = false;  // of the epilogue, in q_dtype
  bool residual = false;
  float epilogue_scale = 1.0f;
  bool row_max = false;
  TileHook score_hook{};
  TileHook weight_hook{};
  std::vector<expr::SlotValue> mask_values{};   // borrowed
  std::vector<expr::SlotValue> score_values{};  // borrowed
  uint64_t seed = 1;
  uint64_t page_seed = 1;  // order of pages, unused pages between them
};

/// Where a call writes. Everything starts as a pattern, so that stray writes are seen.
struct Output {
  std::vector<std::byte> bytes;
  std::vector<float> lse;      // (Hq, total_q) in the order of `lse_view`
  std::vector<float> row_max;  // (Hq, total_q)
  TensorView view;
  LseView lse_view;

  Output() = default;
  Output(const Output&) = delete;  // `view` points into `bytes`
  Output& operator=(const Output&) = delete;
  Output(Output&&) = default;
  Output& operator=(Output&&) = default;

  [[nodiscard]] double at(int64_t token, int64_t head, int64_t d) const;
  /// The bits of all heads of one token, and those of its LSE.
  [[nodiscard]] std::vector<std::byte> row_bits(int64_t token) const;
  /// Empty, or where a byte between rows was changed.
  [[nodiscard]] std::string stray_write() const;
};

class Problem {
 public:
  explicit Problem(ProblemShape shape);

  [[nodiscard]] const ProblemShape& shape() const { return shape_; }
  [[nodiscard]] const AttentionSpec& spec() const { return shape_.spec; }
  [[nodiscard]] SequenceBatch batch() const;
  [[nodiscard]] KvView kv() const;
  [[nodiscard]] ConstTensorView q() const;
  [[nodiscard]] int32_t total_q() const { return cu_seqlens_q_.back(); }
  [[nodiscard]] int32_t first_row(size_t seq) const { return cu_seqlens_q_[seq]; }

  [[nodiscard]] Output make_output(LseView options = {}) const;
  [[nodiscard]] AttendArgs args(Output& output) const;

  /// Overwrites one element, for tests of special values. Keys may be any slot of the sequence,
  /// leftpad and spare ones included: those before key 0 are negative.
  void set_q(size_t seq, int32_t token, int32_t head, int32_t d, double value);
  void set_k(size_t seq, int32_t key, int32_t kv_head, int32_t d, double value);
  void set_v(size_t seq, int32_t key, int32_t kv_head, int32_t d, double value);

  std::vector<float> alibi_slopes;
  std::vector<float> sinks;
  std::vector<float> branch_weights;
  std::vector<int32_t> pages;  // dense: row stride max_pages

 private:
  void place_sequences();
  void place_pages();
  void make_strides();
  void fill_q();
  void fill_epilogue();
  void fill_kv();
  void make_tables();
  void make_branches();
  void fill_kv_row(bool is_v, size_t seq, int64_t key, int64_t head);
  [[nodiscard]] int64_t slot_of(size_t seq, int64_t key) const;
  [[nodiscard]] int64_t id_of(size_t seq) const;

  ProblemShape shape_;
  int32_t dim_v_ = 0;
  std::vector<int32_t> cu_seqlens_q_{0}, cu_seqlens_k_{0}, seqused_k_, q_start_, leftpad_k_;
  std::vector<int32_t> indptr_{0}, last_page_len_;
  int32_t max_pages_ = 0;
  int32_t num_pages_ = 0;
  bool give_seqused_ = true;
  bool give_q_start_ = false;
  bool give_leftpad_ = false;
  std::vector<std::byte> q_, cos_, sin_, gate_, residual_;
  mutable AlignedBytes k_, v_;  // a KvView may write, attend does not; v_ may be a part of k_
  std::array<int64_t, 3> q_strides_{};
  KvStrides k_strides_, v_strides_;
  int32_t max_position_ = 0;
  std::vector<Problem> others_;  // with q and K of the branches after the first
  std::vector<Branch> branches_;
};

/// "f32 kv nhd/16, 8/2 heads of 64, causal, (q 3, kv 17) .." for messages.
std::string describe(const ProblemShape& shape);

/// A number in [-1, 1) that depends on its arguments only.
double hashed(uint64_t seed, uint64_t stream, int64_t a, int64_t b);

}  // namespace attnrt::test
