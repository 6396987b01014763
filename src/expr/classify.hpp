// SPDX-License-Identifier: Apache-2.0
// Proves of tiles of a mask that no element is visible, or that all are. A tile is a box of query
// positions, key positions and heads of one sequence.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "src/expr/abstract_value.hpp"
#include "src/expr/classify_tape.hpp"
#include "src/expr/range_index.hpp"

namespace attnrt::expr {

enum class TileClass : uint8_t { kEmpty, kPartial, kFull };

/// What of a mask is the same for all sequences and heads: its normal form and the indexes of its
/// tables. Any number of threads may read it while none refreshes it.
class MaskAnalysis {
 public:
  /// Borrows the program, the bindings and the buffers bound.
  MaskAnalysis(const ProgramData& program, const Bindings& bindings);

  [[nodiscard]] const ProgramData& program() const { return *program_; }
  [[nodiscard]] const Bindings& bindings() const { return *bindings_; }
  [[nodiscard]] const ClassifyTape& tape() const { return tape_; }
  [[nodiscard]] const RangeIndex& index(int32_t slot) const {
    return *indexes_[static_cast<size_t>(slot)];
  }
  [[nodiscard]] int64_t index_bytes() const;

  /// Elements of the buffers may have changed: from number `first` on where they have rank 1, any
  /// where they have more. Errors: InvalidArgument where a promised order does not hold any more.
  Status refresh(int64_t first);

 private:
  const ProgramData* program_;
  const Bindings* bindings_;
  ClassifyTape tape_;
  std::vector<std::optional<RangeIndex>> indexes_;  // by slot
};

/// One sequence and the heads [h_begin, h_end), which belong to the KV heads
/// [hkv_begin, hkv_end). Positions are logical.
struct SequenceScope {
  int32_t b = 0;
  int32_t h_begin = 0;
  int32_t h_end = 1;
  int32_t hkv_begin = 0;
  int32_t hkv_end = 1;
  int32_t q_len = 0;
  int32_t kv_len = 0;
};

/// One thread's classifier. Set the sequence first, then queries, then classify key ranges: what
/// depends on the former is not evaluated again for the latter.
class TileClassifier {
 public:
  explicit TileClassifier(const MaskAnalysis& analysis);

  void set_sequence(const SequenceScope& scope);
  void set_queries(int64_t begin, int64_t end);
  TileClass classify(int64_t key_begin, int64_t key_end);

  /// After kPartial: conjunct_bit(i) is set where tape().conjuncts[i] was not proved true for the
  /// whole tile. The mask is the conjunction of those there.
  [[nodiscard]] uint64_t undecided_conjuncts() const;

  [[nodiscard]] const MaskAnalysis& analysis() const { return *analysis_; }

 private:
  bool evaluate_all(Rank rank);
  void evaluate(const TapeStep& step, AbstractValue& out) const;
  void evaluate_leaf(const TapeStep& step, AbstractValue& out) const;
  void evaluate_sum(const TapeStep& step, AbstractValue& out) const;
  void load(const TapeStep& step, AbstractValue& out) const;
  [[nodiscard]] uint8_t truth(Ref ref) const {
    const uint8_t value = values_[step_of(ref)].truth;
    return negated(ref) ? negate(value) : value;
  }
  [[nodiscard]] const AbstractValue& input(const TapeStep& step, size_t i) const {
    return values_[step_of(step.operands[i])];
  }

  const MaskAnalysis* analysis_;
  SequenceScope scope_;
  int64_t q_begin_ = 0;
  int64_t q_end_ = 1;
  int64_t key_begin_ = 0;
  int64_t key_end_ = 1;
  bool sequence_empty_ = false;
  bool queries_empty_ = false;
  std::vector<AbstractValue> values_;
};

}  // namespace attnrt::expr
