// SPDX-License-Identifier: Apache-2.0
// What a plan knows of its mask expression: values of its slots, which of its parts are windows,
// and which runs of keys the rest lets a tile see.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "src/expr/classify.hpp"
#include "src/expr/lower_tile.hpp"
#include "src/expr/plan_runs.hpp"
#include "src/plan_data.hpp"

namespace attnrt {

/// Distances between a query and the keys it sees, as in AttentionSpec; -1: no limit.
struct KeyWindow {
  int32_t left = -1;
  int32_t right = -1;

  void narrow(const KeyWindow& other);
};

/// The window that a mask, or a part of it, is; false where it is more than that.
bool window_of(const expr::MaskForm& form, const expr::Bindings& bindings, KeyWindow& window);

/// A mask that is more than a window, with its slots bound.
class PlanMask {
 public:
  /// Borrows the buffers of `bindings`.
  PlanMask(const expr::MaskProgram& program, expr::Bindings&& bindings);
  PlanMask(const PlanMask&) = delete;
  PlanMask& operator=(const PlanMask&) = delete;
  ~PlanMask() = default;

  [[nodiscard]] const expr::MaskProgram& program() const { return program_; }
  [[nodiscard]] const expr::Bindings& bindings() const { return bindings_; }
  [[nodiscard]] const expr::MaskAnalysis& analysis() const { return analysis_; }
  [[nodiscard]] const expr::TileProgram& tile_program() const { return tile_program_; }

  /// As MaskAnalysis::refresh. Plans that share it stay as they are.
  Status refresh(int64_t first) { return analysis_.refresh(first); }

  /// Those of its parts that are windows, as one; conjuncts() has their bits, by their number in
  /// the tape.
  [[nodiscard]] const KeyWindow& window() const { return window_; }
  [[nodiscard]] uint64_t window_conjuncts() const { return window_conjuncts_; }

 private:
  expr::MaskProgram program_;
  expr::Bindings bindings_;
  expr::MaskAnalysis analysis_;
  expr::TileProgram tile_program_;
  KeyWindow window_;
  uint64_t window_conjuncts_ = 0;
};

/// The bindings of a mask as a caller would give them.
std::vector<expr::SlotValue> slot_values(const PlanMask& mask);

/// Plans the runs of one make_plan call.
class MaskPlanner {
 public:
  MaskPlanner(const PlanMask& mask, const AttentionSpec& spec);

  /// Heads that see the same keys, which are planned together.
  [[nodiscard]] std::span<const expr::HeadClass> head_classes() const { return classes_; }

  /// Sequence `b`, cut into tiles of `tile_tokens` query tokens. The list is good until the next
  /// call.
  const expr::RunList& plan(int32_t b, const PlanSequence& seq, const expr::HeadClass& heads,
                            int32_t tile_tokens);

 private:
  const PlanMask& mask_;
  expr::TileClassifier classifier_;
  std::vector<expr::HeadClass> classes_;
  expr::RunList runs_;
};

}  // namespace attnrt
