// SPDX-License-Identifier: Apache-2.0
#include "src/plan_score.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace attnrt {
namespace {

using expr::BoundSlot;
using expr::Op;
using expr::ProgramData;
using expr::ProgramNode;
using expr::ScoreForm;

const BoundSlot& slot_of(const expr::Bindings& bindings, int32_t slot) {
  return bindings.slots[static_cast<size_t>(slot)];
}

// The value of a slope for each head and sequence, where it is as simple as slopes are: a literal,
// a parameter, or an f32 table indexed by the head, or by the sequence and the head.
class Slopes {
 public:
  Slopes(const ProgramData& program, const expr::Bindings& bindings)
      : program_(program), bindings_(bindings) {}

  // False where it is something else.
  bool fill(const PlanData& plan, std::vector<float>& slopes) const {
    const ScoreForm& form = program_.score_form;
    const ProgramNode& node = at(form.slope);
    if (!simple(node)) return false;
    const auto heads = static_cast<size_t>(plan.spec.num_heads_q);
    const bool per_sequence = (node.depends & expr::kDependsB) != 0;
    slopes.resize(per_sequence ? heads * plan.sequences.size() : heads);
    for (size_t i = 0; i < slopes.size(); ++i) {
      const float slope =
          value(node, static_cast<int64_t>(i / heads), static_cast<int64_t>(i % heads));
      slopes[i] = form.slope_negated ? -slope : slope;
    }
    return true;
  }

 private:
  [[nodiscard]] const ProgramNode& at(int32_t index) const {
    return program_.nodes[static_cast<size_t>(index)];
  }

  [[nodiscard]] bool simple(const ProgramNode& node) const {
    if (node.type != expr::Type::kFloat) return false;
    if (node.op == Op::kLiteral || node.op == Op::kParam) return true;
    if (node.op != Op::kLoad) return false;
    if (slot_of(bindings_, node.slot).element != expr::ElementType::kF32) return false;
    for (int i = 0; i < node.num_operands; ++i) {
      const Op op = at(node.operands[static_cast<size_t>(i)]).op;
      if (op != Op::kH && op != Op::kB) return false;
    }
    return true;
  }

  [[nodiscard]] float value(const ProgramNode& node, int64_t b, int64_t h) const {
    if (node.op == Op::kLiteral) return node.literal.f;
    const BoundSlot& slot = slot_of(bindings_, node.slot);
    if (node.op == Op::kParam) return slot.float_value;
    int64_t offset = 0;
    for (size_t i = 0; i < node.num_operands; ++i) {
      const int64_t index = at(node.operands[i]).op == Op::kH ? h : b;
      offset += std::min(index, slot.shape[i] - 1) * slot.strides[i];
    }
    return static_cast<const float*>(slot.data)[offset];
  }

  const ProgramData& program_;
  const expr::Bindings& bindings_;
};

// The options would come before the expression, and they are one of each.
bool options_are_free(const AttentionSpec& spec, const ScoreForm& form) {
  if (form.has_softcap && (spec.softcap > 0.0f || spec.has_alibi)) return false;
  return !(form.has_alibi && spec.has_alibi);
}

// Whether the whole expression is a soft cap and ALiBi of the options; `score` then has them. On a
// device slopes would have to come from there, and tables are there already: these are programs.
bool is_closed_form(const PlanData& plan, Device device, ScoreStorage& storage, BoundScore& score) {
  const ProgramData& program = *plan.score->program().data();
  const ScoreForm& form = program.score_form;
  if (!form.exact || !program.dots.empty() || !options_are_free(plan.spec, form)) return false;
  float cap = plan.spec.softcap;
  if (form.has_softcap) {
    cap = form.softcap_slot >= 0 ? slot_of(storage.bindings, form.softcap_slot).float_value
                                 : form.softcap;
    if (!(cap > 0.0f) || !std::isfinite(cap)) return false;
  }
  if (form.has_alibi) {
    if (device != Device::kCpu) return false;
    // slope * (kv - q) is minus slope times the distance only for keys that are not after q.
    if (!form.alibi_absolute && plan.spec.window_right != 0) return false;
    if (!Slopes(program, storage.bindings).fill(plan, storage.slopes)) return false;
    score.alibi_slopes = storage.slopes;
  }
  score.softcap = cap;
  return true;
}

}  // namespace

std::shared_ptr<const PlanScore> make_plan_score(const AttentionSpec& spec,
                                                 std::shared_ptr<const PlanScore> old) {
  if (!spec.score.valid()) return nullptr;
  if (old != nullptr && old->program().data() == spec.score.data()) return old;
  return std::make_shared<const PlanScore>(spec.score);
}

Status bind_score(const PlanData& plan, const AttendArgs& args, ScoreStorage& storage,
                  BoundScore& score) {
  score = {};
  score.softcap = plan.spec.softcap;
  score.alibi_slopes = args.alibi_slopes;
  if (plan.score == nullptr) return {};
  Status status = expr::bind_slots(plan.score->program().slots(), args.score_values,
                                   storage.bindings, expr::CheckOrder::kNo);
  if (!status.ok()) return Status(status.code(), "score_values: " + status.message());
  if (is_closed_form(plan, args.q.device, storage, score)) return {};
  score.program = plan.score.get();
  score.slots = storage.bindings.slots;
  return {};
}

}  // namespace attnrt
