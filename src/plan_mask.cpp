// SPDX-License-Identifier: Apache-2.0
#include "src/plan_mask.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "src/expr/recognise.hpp"

namespace attnrt {
namespace {

// Keys of a block that is decided as a whole: half of what kernels work on at once, so that what
// is empty within it costs next to nothing, and 4 KiB of bf16 K for one proof of about 100 ns.
constexpr int32_t kBlockKeys = 64;

// Windows of AttentionSpec go this far. No key is farther behind a query, but one may be
// twice as far ahead of a query at position -2^31.
constexpr int64_t kWidest = std::numeric_limits<int32_t>::max();
constexpr int64_t kFarthestLeft = kWidest;
constexpr int64_t kFarthestRight = 2 * kWidest + 1;

void narrow(int32_t& side, int64_t bound) {
  if (side < 0 || bound < side) side = static_cast<int32_t>(bound);
}

// Negative bounds look the other way and those beyond kWidest do not fit: no window of
// AttentionSpec does.
bool narrow(std::span<const expr::Bound> bounds, const expr::Bindings& bindings, int64_t farthest,
            int32_t& side) {
  for (const expr::Bound& bound : bounds) {
    int64_t value = bound.literal;
    if (bound.slot >= 0) {
      value += bound.sign * bindings.slots[static_cast<size_t>(bound.slot)].int_value;
    }
    if (value >= farthest) continue;
    if (value < 0 || value > kWidest) return false;
    narrow(side, value);
  }
  return true;
}

}  // namespace

void KeyWindow::narrow(const KeyWindow& other) {
  if (other.left >= 0) attnrt::narrow(left, other.left);
  if (other.right >= 0) attnrt::narrow(right, other.right);
}

bool window_of(const expr::MaskForm& form, const expr::Bindings& bindings, KeyWindow& window) {
  if (!form.exact() || !form.documents.empty()) return false;
  KeyWindow found;
  if (!narrow(form.left, bindings, kFarthestLeft, found.left)) return false;
  if (!narrow(form.right, bindings, kFarthestRight, found.right)) return false;
  window = found;
  return true;
}

PlanMask::PlanMask(const expr::MaskProgram& program, expr::Bindings&& bindings)
    : program_(program),
      bindings_(std::move(bindings)),
      analysis_(*program_.data(), bindings_),
      tile_program_(expr::lower_mask(*program_.data())) {
  const std::vector<int32_t>& conjuncts = analysis_.tape().conjuncts;
  for (size_t i = 0; i < conjuncts.size(); ++i) {
    KeyWindow part;
    if (!window_of(expr::recognise_part(*program_.data(), conjuncts[i]), bindings_, part)) continue;
    window_.narrow(part);
    if (i + 1 < expr::kConjunctBits) window_conjuncts_ |= expr::conjunct_bit(i);
  }
}

std::vector<expr::SlotValue> slot_values(const PlanMask& mask) {
  const std::span<const expr::Slot> slots = mask.program().slots();
  std::vector<expr::SlotValue> values;
  for (size_t i = 0; i < slots.size(); ++i) {
    const expr::BoundSlot& bound = mask.bindings().slots[i];
    values.push_back({.name = slots[i].name,
                      .kind = bound.kind,
                      .int_value = bound.int_value,
                      .float_value = bound.float_value,
                      .element = bound.element,
                      .data = bound.data,
                      .rank = bound.rank,
                      .shape = bound.shape,
                      .strides = bound.strides});
  }
  return values;
}

MaskPlanner::MaskPlanner(const PlanMask& mask, const AttentionSpec& spec)
    : mask_(mask),
      classifier_(mask.analysis()),
      classes_(expr::head_classes(*mask.program().data(), spec.num_heads_q, spec.num_heads_kv)) {}

const expr::RunList& MaskPlanner::plan(int32_t b, const PlanSequence& seq,
                                       const expr::HeadClass& heads, int32_t tile_tokens) {
  runs_.clear();
  classifier_.set_sequence({.b = b,
                            .h_begin = heads.h_begin,
                            .h_end = heads.h_end,
                            .hkv_begin = heads.hkv_begin,
                            .hkv_end = heads.hkv_end,
                            .q_len = seq.q_len,
                            .kv_len = seq.kv_len});
  expr::append_runs(classifier_,
                    {.q_begin = seq.q_start,
                     .q_end = seq.q_start + seq.q_len,
                     .kv_len = seq.kv_len,
                     .tile_tokens = tile_tokens,
                     .block_keys = kBlockKeys,
                     .residuals = true,
                     .decided_elsewhere = mask_.window_conjuncts()},
                    runs_);
  return runs_;
}

}  // namespace attnrt
