// SPDX-License-Identifier: Apache-2.0
// A compiled expression as flat arrays: what tile machines, the tile classifier and emitters of
// source walk. The order of nodes is topological, so one forward pass evaluates them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "attnrt/expr.hpp"
#include "src/expr/bound_slot.hpp"
#include "src/expr/graph.hpp"

namespace attnrt::expr {

/// Over which of the two axes of a tile of scores a node varies, for a fixed sequence and head.
enum class Rank : uint8_t { kScalar, kRow, kColumn, kElement };

struct ProgramNode {
  Op op = Op::kLiteral;
  Type type = Type::kInt;
  Rank rank = Rank::kScalar;  // kRow: once per q; kColumn: once per kv; kElement: both, or score
  uint8_t depends = 0;        // Depends bits
  uint8_t num_operands = 0;
  std::array<int32_t, kMaxOperands> operands{-1, -1, -1, -1};  // indices of earlier nodes
  int32_t slot = -1;  // kParam, kLoad, kRows: index into slots
  Literal literal;    // kLiteral
};

/// literal + sign * value of an integer parameter; slot -1: the literal alone.
struct Bound {
  int64_t literal = 0;
  int32_t slot = -1;
  int32_t sign = 0;

  bool operator==(const Bound&) const = default;
};

/// A part of a conjunction: the node, or its negation.
struct Conjunct {
  int32_t node = -1;
  bool negated = false;
};

/// A mask as a conjunction of closed forms and the rest: the mask is true exactly where all hold.
struct MaskForm {
  std::vector<Bound> right;        // kv - q <= bound; causal: literal 0
  std::vector<Bound> left;         // q - kv <= bound; a window of w keys before q: w
  std::vector<int32_t> documents;  // slots of tables d of integers with d[q] == d[kv]
  std::vector<Conjunct> rest;      // the parts that are none of these
  [[nodiscard]] bool exact() const { return rest.empty(); }
  [[nodiscard]] bool causal() const;  // one of `right` is the literal 0
};

/// A score that is what the built-in options compute: softcap of the raw score first, ALiBi second.
struct ScoreForm {
  bool exact = false;  // the whole score is what follows; the raw score if nothing follows
  bool has_softcap = false;
  float softcap = 0.0f;       // a literal, or
  int32_t softcap_slot = -1;  // a float parameter
  bool has_alibi = false;
  int32_t slope = -1;           // node, of Rank::kScalar: adds slope * (kv - q), or
  bool alibi_absolute = false;  // adds -slope * |q - kv|
  bool slope_negated = false;   // the slope is minus the node's value
};

/// A dot product that is added to the raw score: score + factor * dot(q_side, kv_side).
struct DotTerm {
  int32_t node = -1;
  int32_t q_slot = -1;
  int32_t kv_slot = -1;
  int32_t factor = -1;  // node of Rank::kScalar; -1: one
  bool negated = false;
};

struct ProgramData {
  std::vector<ProgramNode> nodes;  // the last one is the result
  std::vector<Slot> slots;         // in order of first use
  uint8_t depends = 0;             // of the result
  MaskForm mask_form;              // of masks
  ScoreForm score_form;            // of scores
  std::vector<DotTerm> dots;       // of scores
  Expr source;
};

/// Values of all slots of a program, in the order of ProgramData::slots.
struct Bindings {
  std::vector<BoundSlot> slots;

  /// The same values, and the same places of buffers.
  bool operator==(const Bindings&) const;
};

/// Whether a buffer of rank 1 ascends. Errors: InvalidArgument naming slot and element.
Status check_sorted(const Slot& slot, const BoundSlot& bound);

/// Whether a promised order is checked, in O(elements). Only proofs about tiles rely on it.
enum class CheckOrder : uint8_t { kYes, kNo };

/// Looks up each slot by name and checks kind, element type, rank, shape and a promised order.
/// `values` may hold more than the program asks for.
/// Errors: InvalidArgument naming the slot; `bindings` is unspecified then.
Status bind_slots(std::span<const Slot> slots, std::span<const SlotValue> values,
                  Bindings& bindings, CheckOrder check_order = CheckOrder::kYes);

}  // namespace attnrt::expr
