// SPDX-License-Identifier: Apache-2.0
// Tasks with a mask and a score program, their definition element by element, and attention over
// them in double precision.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "src/expr/evaluate.hpp"
#include "src/expr/lower_tile.hpp"
#include "tests/backends/cpu/kernel_case.hpp"

namespace attnrt::test {

enum class Width : uint8_t { kAsNeeded, kWide };

/// A program as kernels take it, and as it is defined. Borrows tables.
class TileCase {
 public:
  TileCase(const expr::Expr& expression, std::span<const expr::SlotValue> values, bool is_mask) {
    compiled_ = is_mask ? compile_mask(expression, mask_) : compile_score(expression, score_);
    if (!compiled_.ok()) return;
    const expr::ProgramData& data = is_mask ? *mask_.data() : *score_.data();
    program_ = is_mask ? lower_mask(data) : lower_score(data);
    code_ = program_.code();
    compiled_ = bind_slots(data.slots, values, bindings_);
    if (compiled_.ok()) compiled_ = expr::Evaluator::create(expression, values, evaluator_);
  }
  TileCase(const TileCase&) = delete;
  TileCase& operator=(const TileCase&) = delete;

  [[nodiscard]] const Status& status() const { return compiled_; }
  [[nodiscard]] const expr::TileCode* code() const { return &code_; }
  [[nodiscard]] expr::Evaluator& evaluator() { return evaluator_; }

  [[nodiscard]] bool needs_wide(const KernelShape& s) const {
    const expr::TileExtent extent{s.first_position(), s.first_position() + s.tokens,
                                  s.kv_len,           8,
                                  s.heads_q(),        s.heads_kv,
                                  s.tokens,           s.kv_len};
    return needs_int64(code_, bindings_.slots, extent);
  }
  [[nodiscard]] expr::ExprCall call(const KernelShape& s, Width width = Width::kAsNeeded) const {
    return {&code_, bindings_.slots.data(), width == Width::kWide || needs_wide(s)};
  }

 private:
  expr::MaskProgram mask_;
  expr::ScoreProgram score_;
  expr::TileProgram program_;
  expr::TileCode code_;
  expr::Bindings bindings_;
  expr::Evaluator evaluator_;
  Status compiled_;
};

/// Scratch for a task with programs.
class TileScratch {
 public:
  void give_to(cpu::AttendTask& task) {
    const size_t bytes =
        cpu::attend_scratch_bytes(int64_t{task.tokens} * task.group, task.head_dim, task.head_dim_v,
                                  task.mask.code, task.score.code);
    // Ends where a page without access begins; 64-byte aligned, as its size is.
    if (bytes != bytes_) memory_.emplace(bytes_ = bytes);
    std::fill_n(reinterpret_cast<uint8_t*>(memory_->data()), bytes, uint8_t{0xff});
    task.scratch = memory_->data();
  }

 private:
  size_t bytes_ = 0;
  std::optional<GuardedBuffer> memory_;
};

inline constexpr int32_t kTileSequence = 1;  // b() of the tasks here

inline expr::Point point_of(const KernelShape& s, int32_t token, int32_t head, int32_t key) {
  return {.b = kTileSequence,
          .h = head,
          .hkv = head / s.group,
          .q = s.first_position() + token,
          .kv = key,
          .q_len = s.tokens,
          .kv_len = s.kv_len};
}

/// Programs of a task; null: none.
struct TilePrograms {
  const TileCase* mask = nullptr;
  const TileCase* score = nullptr;
  Width width = Width::kAsNeeded;
};

/// Tokens [begin, end) of a case with programs and runs.
inline cpu::AttendTask tile_task(const KernelCase& c, int32_t begin, int32_t end,
                                 const KernelOutput& to, const TilePrograms& programs,
                                 std::span<const expr::MaskRun> runs) {
  const auto& [mask, score, width] = programs;
  cpu::AttendTask task = c.task(begin, end, to);
  task.seq = kTileSequence;
  task.q_len = c.shape.tokens;
  if (mask != nullptr) {
    task.mask = mask->call(c.shape, width);
    static constexpr expr::MaskRun kNone{};
    task.runs = runs.empty() ? &kNone : runs.data();  // null would be: all keys
    task.num_runs = static_cast<int32_t>(runs.size());
  }
  if (score != nullptr) task.score = score->call(c.shape, width);
  return task;
}

}  // namespace attnrt::test
