// SPDX-License-Identifier: Apache-2.0
#include "src/plan_verify.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "src/expr/evaluate.hpp"
#include "src/plan_mask.hpp"
#include "src/visible_range.hpp"

namespace attnrt {
namespace {

class Verifier {
 public:
  Verifier(const PlanData& plan, expr::Evaluator& mask) : plan_(plan), mask_(mask) {}

  Status run() {
    const int32_t group = plan_.spec.num_heads_q / plan_.spec.num_heads_kv;
    for (const PlanTile& tile : plan_.tiles) {
      const int32_t first = tile.kv_head_begin * group;
      const int32_t last = plan_.spec.mask.uses_head() ? tile.kv_head_end * group : first + 1;
      for (int32_t h = first; h < last; ++h) {
        for (int32_t token = tile.token_begin; token < tile.token_end; ++token) {
          if (Status status = check_row(tile, token, h); !status.ok()) return status;
        }
      }
    }
    return {};
  }

 private:
  Status check_row(const PlanTile& tile, int32_t token, int32_t h) {
    const PlanSequence& seq = plan_.sequences[static_cast<size_t>(tile.seq)];
    const int64_t position = int64_t{seq.q_start} + token;
    const KeyRange keys =
        visible_keys(position, seq.kv_len, plan_.spec.window_left, plan_.spec.window_right);
    expr::Point point{.b = tile.seq,
                      .h = h,
                      .hkv = h / (plan_.spec.num_heads_q / plan_.spec.num_heads_kv),
                      .q = position,
                      .q_len = seq.q_len,
                      .kv_len = seq.kv_len};
    int32_t done = keys.begin;
    for (const expr::MaskRun& run : plan_.runs_of(tile)) {
      const int32_t begin = std::clamp(run.key_begin, done, std::max(done, keys.end));
      const int32_t end = std::clamp(run.key_end, begin, std::max(begin, keys.end));
      if (Status s = check_keys(point, {done, begin}, false); !s.ok()) return s;
      if (run.undecided == 0) {
        if (Status s = check_keys(point, {begin, end}, true); !s.ok()) return s;
      }
      done = end;
    }
    return check_keys(point, {done, keys.end}, false);
  }

  Status check_keys(expr::Point& point, const KeyRange& keys, bool visible) {
    for (int32_t key = keys.begin; key < keys.end; ++key) {
      point.kv = key;
      if (mask_.predicate(point) == visible) continue;
      return Status(Code::kInternal,
                    "the plan has the mask " + std::string(visible ? "true" : "false") + " at b " +
                        std::to_string(point.b) + ", h " + std::to_string(point.h) + ", q " +
                        std::to_string(point.q) + ", kv " + std::to_string(key) +
                        ", and it is not");
    }
    return {};
  }

  const PlanData& plan_;
  expr::Evaluator& mask_;
};

}  // namespace

Status verify_mask(const PlanData& plan) {
  if (plan.mask == nullptr) return {};
  expr::Evaluator mask;
  const std::vector<expr::SlotValue> values = slot_values(*plan.mask);
  const expr::Expr& source = plan.mask->program().data()->source;
  if (Status status = expr::Evaluator::create(source, values, mask); !status.ok()) return status;
  return Verifier(plan, mask).run();
}

}  // namespace attnrt
