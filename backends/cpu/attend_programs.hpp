// SPDX-License-Identifier: Apache-2.0
// The mask and score programs of one call, as kernels take them.
#pragma once

#include "src/backend.hpp"
#include "src/expr/tile_code.hpp"

namespace attnrt::cpu {

/// Those of a plan; null where there is none. Points into itself and the plan.
class Programs {
 public:
  explicit Programs(const PlanData& plan);
  [[nodiscard]] const expr::TileCode* mask() const { return non_null(mask_); }
  [[nodiscard]] const expr::TileCode* score() const { return non_null(score_); }

 private:
  static const expr::TileCode* non_null(const expr::TileCode& code) {
    return code.steps == nullptr ? nullptr : &code;
  }

  expr::TileCode mask_, score_;
};

/// With the values of their slots, and 64-bit integers where positions or values ask for them.
struct BoundPrograms {
  expr::ExprCall mask{};
  expr::ExprCall score{};
};

/// O(batch + steps) where the call has programs. Points into `programs`, the plan and the score.
BoundPrograms bind_programs(const AttendCall& call, const Programs& programs);

}  // namespace attnrt::cpu
