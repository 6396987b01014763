// SPDX-License-Identifier: Apache-2.0
#include "src/expr/classify.hpp"

#include <cassert>

namespace attnrt::expr {
namespace {

void keep(AbstractValue& out, int64_t low, int64_t high) {
  out.low = low;
  out.high = high;
}

bool is_compare(Op op) {
  return op == Op::kLess || op == Op::kLessEqual || op == Op::kEqual || op == Op::kNotEqual;
}

}  // namespace

MaskAnalysis::MaskAnalysis(const ProgramData& program, const Bindings& bindings)
    : program_(&program),
      bindings_(&bindings),
      tape_(make_tape(program)),
      indexes_(program.slots.size()) {
  for (size_t i = 0; i < program.slots.size(); ++i) {
    if (program.slots[i].kind != SlotKind::kBuffer) continue;
    indexes_[i].emplace(bindings.slots[i], program.slots[i].sorted);
  }
}

Status MaskAnalysis::refresh(int64_t first) {
  for (size_t i = 0; i < indexes_.size(); ++i) {
    if (!indexes_[i]) continue;
    const Slot& slot = program_->slots[i];
    if (slot.rank > 1) {
      indexes_[i].emplace(bindings_->slots[i], slot.sorted);
      continue;
    }
    indexes_[i]->refresh(first);
    if (slot.sorted && !indexes_[i]->ascending()) {
      return check_sorted(slot, bindings_->slots[i]);
    }
  }
  return {};
}

int64_t MaskAnalysis::index_bytes() const {
  int64_t bytes = 0;
  for (const auto& index : indexes_) bytes += index ? index->memory_bytes() : 0;
  return bytes;
}

TileClassifier::TileClassifier(const MaskAnalysis& analysis)
    : analysis_(&analysis), values_(analysis.tape().steps.size()) {}

void TileClassifier::set_sequence(const SequenceScope& scope) {
  scope_ = scope;
  sequence_empty_ = evaluate_all(Rank::kScalar);
}

void TileClassifier::set_queries(int64_t begin, int64_t end) {
  assert(begin < end);
  q_begin_ = begin;
  q_end_ = end;
  queries_empty_ = sequence_empty_ || evaluate_all(Rank::kRow);
}

TileClass TileClassifier::classify(int64_t key_begin, int64_t key_end) {
  assert(key_begin < key_end);
  key_begin_ = key_begin;
  key_end_ = key_end;
  if (queries_empty_ || evaluate_all(Rank::kColumn) || evaluate_all(Rank::kElement)) {
    return TileClass::kEmpty;
  }
  switch (truth(analysis_->tape().result)) {
    case kCanBeTrue:
      return TileClass::kFull;
    case kCanBeFalse:
      return TileClass::kEmpty;
    default:
      return TileClass::kPartial;
  }
}

uint64_t TileClassifier::undecided_conjuncts() const {
  uint64_t undecided = 0;
  const ClassifyTape& tape = analysis_->tape();
  for (size_t i = 0; i < tape.conjunct_results.size(); ++i) {
    if (truth(tape.conjunct_results[i]) != kCanBeTrue) undecided |= conjunct_bit(i);
  }
  return undecided;
}

// True where a conjunct is false for the whole tile: nothing after it matters.
bool TileClassifier::evaluate_all(Rank rank) {
  const ClassifyTape& tape = analysis_->tape();
  for (const int32_t i : tape.order[static_cast<size_t>(rank)]) {
    const auto index = static_cast<size_t>(i);
    const TapeStep& step = tape.steps[index];
    AbstractValue& out = values_[index];
    evaluate(step, out);
    if (step.ends_unless != 0 && (out.truth & step.ends_unless) == 0) return true;
  }
  return false;
}

void TileClassifier::evaluate_leaf(const TapeStep& step, AbstractValue& out) const {
  switch (step.op) {
    case Op::kQ:
      keep(out, q_begin_, q_end_ - 1);
      break;
    case Op::kKv:
      keep(out, key_begin_, key_end_ - 1);
      break;
    case Op::kB:
      keep(out, scope_.b, scope_.b);
      break;
    case Op::kH:
      keep(out, scope_.h_begin, scope_.h_end - 1);
      break;
    case Op::kHkv:
      keep(out, scope_.hkv_begin, scope_.hkv_end - 1);
      break;
    case Op::kQLen:
      keep(out, scope_.q_len, scope_.q_len);
      break;
    case Op::kKvLen:
      keep(out, scope_.kv_len, scope_.kv_len);
      break;
    case Op::kLiteral:
      out.truth = step.literal.i != 0 ? kCanBeTrue : kCanBeFalse;
      out.low = out.high = step.literal.i;
      out.float_low = out.float_high = step.literal.f;
      out.nan = step.literal.f != step.literal.f;
      break;
    case Op::kParam: {
      const BoundSlot& slot = analysis_->bindings().slots[static_cast<size_t>(step.slot)];
      out.low = out.high = slot.int_value;
      out.float_low = out.float_high = slot.float_value;
      out.nan = slot.float_value != slot.float_value;
      break;
    }
    default:
      break;
  }
}

void TileClassifier::evaluate(const TapeStep& step, AbstractValue& out) const {
  switch (step.op) {
    case Op::kLoad:
      load(step, out);
      break;
    case Op::kAnd:
      out.truth = both(truth(step.operands[0]), truth(step.operands[1]));
      return;
    case Op::kXor: {
      const uint8_t x = truth(step.operands[0]);
      const uint8_t y = truth(step.operands[1]);
      const bool undecided = x == kUndecided || y == kUndecided;
      out.truth = truth_of(undecided || x != y, undecided || x == y);
      return;
    }
    case Op::kSelect: {
      const uint8_t condition = truth(step.operands[0]);
      if (step.type == Type::kPredicate) {
        const uint8_t x = truth(step.operands[1]);
        const uint8_t y = truth(step.operands[2]);
        out.truth = condition == kUndecided ? x | y : condition == kCanBeTrue ? x : y;
        return;
      }
      out = condition == kUndecided ? join(step.type, input(step, 1), input(step, 2))
                                    : input(step, condition == kCanBeTrue ? 1 : 2);
      return;
    }
    default:
      if (step.sum) {
        evaluate_sum(step, out);
      } else if (step.operands[0] < 0) {
        evaluate_leaf(step, out);
        break;
      } else if (is_compare(step.op)) {
        out.truth = step.type == Type::kInt
                        ? compare_ints(step.op, input(step, 0), input(step, 1))
                        : compare_floats(step.op, input(step, 0), input(step, 1));
      } else {
        const AbstractValue& x = input(step, 0);
        const AbstractValue& y = step.operands[1] < 0 ? x : input(step, 1);
        const AbstractValue& z = step.operands[2] < 0 ? x : input(step, 2);
        if (step.type == Type::kInt) {
          abstract_int(step.op, x, y, step.wants_bits, out);
        } else {
          const AbstractValue range = abstract_float(step.op, x, y, z);
          out.float_low = range.float_low;
          out.float_high = range.float_high;
          out.nan = range.nan;
        }
      }
      return;
  }
  if (step.wants_bits && step.type == Type::kInt) bits_from_range(out);
}

void TileClassifier::evaluate_sum(const TapeStep& step, AbstractValue& out) const {
  int64_t low = 0;
  int64_t high = 0;
  AbstractValue bits{.low = 0, .high = 0, .unknown = 0};
  for (size_t i = 0; i < 3; ++i) {
    if (step.operands[i] < 0) continue;
    const AbstractValue& part = input(step, i);
    // Parts stay below 2^62 or are unknown: the normal form is made only where that is so.
    if (part.low == INT64_MIN || part.high == INT64_MAX) {
      out.truth = kUndecided;
      return;
    }
    const bool subtract = i == 1 && step.kv_negated;
    if (__builtin_add_overflow(low, subtract ? -part.high : part.low, &low) ||
        __builtin_add_overflow(high, subtract ? -part.low : part.high, &high)) {
      out.truth = kUndecided;
      return;
    }
    if (step.wants_bits) {
      AbstractValue sum;
      abstract_int(subtract ? Op::kSub : Op::kAdd, bits, part, true, sum);
      bits = sum;
    }
  }
  const int64_t bound = step.literal.i;
  if (step.op == Op::kLessEqual) {
    out.truth = truth_of(low <= bound, high > bound);
  } else {
    const bool apart =
        step.wants_bits && ((bits.bits ^ static_cast<uint64_t>(bound)) & ~bits.unknown) != 0;
    out.truth = truth_of(low <= bound && bound <= high && !apart, !(low == bound && high == bound));
  }
}

void TileClassifier::load(const TapeStep& step, AbstractValue& out) const {
  std::array<IndexRange, kMaxOperands> index;
  size_t rank = 0;
  for (; rank < kMaxOperands && step.operands[rank] >= 0; ++rank) {
    const AbstractValue& range = input(step, rank);
    index[rank] = {range.low, range.high};
  }
  analysis_->index(step.slot).query({index.data(), rank}, out);
}

}  // namespace attnrt::expr
