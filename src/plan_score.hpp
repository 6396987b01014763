// SPDX-License-Identifier: Apache-2.0
// The score expression of a plan, and what it is once a call has brought the values of its slots:
// a built-in option where it has that form, else a program.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "src/expr/lower_tile.hpp"
#include "src/plan_data.hpp"

namespace attnrt {

/// Immutable, shared by the calls of a plan.
class PlanScore {
 public:
  explicit PlanScore(const expr::ScoreProgram& program)
      : program_(program), tile_program_(expr::lower_score(*program.data())) {}

  [[nodiscard]] const expr::ScoreProgram& program() const { return program_; }
  [[nodiscard]] const expr::TileProgram& tile_program() const { return tile_program_; }

 private:
  expr::ScoreProgram program_;
  expr::TileProgram tile_program_;
};

/// Null where the spec has no score expression; `old`, which may be null, where it is of the same
/// program.
std::shared_ptr<const PlanScore> make_plan_score(const AttentionSpec& spec,
                                                 std::shared_ptr<const PlanScore> old);

/// What the score of one call is. Borrows a ScoreStorage and the arguments.
struct BoundScore {
  float softcap = 0.0f;                    // > 0: on
  std::span<const float> alibi_slopes;     // as AttendArgs has them; empty: none
  const PlanScore* program = nullptr;      // null: the two above are all
  std::span<const expr::BoundSlot> slots;  // of the program
};

/// Memory that contexts keep between calls, so that binding allocates nothing in a steady state.
struct ScoreStorage {
  expr::Bindings bindings;
  std::vector<float> slopes;
};

/// O(slots + batch x heads). Errors: InvalidArgument naming the slot of score_values.
Status bind_score(const PlanData& plan, const AttendArgs& args, ScoreStorage& storage,
                  BoundScore& score);

}  // namespace attnrt
