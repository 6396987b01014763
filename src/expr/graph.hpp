// SPDX-License-Identifier: Apache-2.0
// The graph behind Expr: interned immutable nodes, and what is known about each operation.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "attnrt/expr.hpp"

namespace attnrt::expr {

/// a > b is kept as b < a. clamp, %, unary ~, predicate == and != are made of others.
enum class Op : uint8_t {
  kError,  // carries a message; never in a program
  kQ,
  kKv,
  kB,
  kH,
  kHkv,
  kQLen,
  kKvLen,
  kScore,
  kLiteral,  // of the node's type
  kParam,    // of the node's type: int or float
  kRows,     // a buffer as a whole: only as an operand of kDot
  kLoad,     // buffer[operands]
  kDot,      // (kRows, kRows)
  kAdd,      // int or float, as the next ones up to kMax: operands have the node's type
  kSub,
  kMul,
  kNeg,
  kAbs,
  kMin,
  kMax,
  kFloorDiv,  // int, as the next ones up to kShiftRight
  kFloorMod,
  kBitAnd,
  kBitOr,
  kBitXor,
  kShiftLeft,
  kShiftRight,
  kLess,  // of two ints or two floats
  kLessEqual,
  kEqual,
  kNotEqual,
  kAnd,  // predicates, as the next ones up to kNot
  kOr,
  kXor,
  kNot,
  kSelect,   // (predicate, x, y): x, y and the node are of one type, any
  kToFloat,  // of an int
  kDiv,      // float, as all that follow
  kFma,
  kExp,
  kExp2,
  kLog,
  kLog1p,
  kTanh,
  kSigmoid,
  kErf,
  kSqrt,
  kRsqrt,
  kSin,
  kCos,
  kPow,
};
inline constexpr int kOpCount = static_cast<int>(Op::kPow) + 1;

/// What the value of a node can change with. q_len and kv_len change with the sequence: kDependsB.
enum Depends : uint8_t {
  kDependsQ = 1,
  kDependsKv = 2,
  kDependsB = 4,
  kDependsH = 8,
  kDependsScore = 16,
};

/// The value of a literal, by type.
struct Literal {
  int64_t i = 0;   // kInt; 0 or 1 of a kPredicate
  float f = 0.0f;  // kFloat
};

inline constexpr int kMaxOperands = 4;

struct Node : std::enable_shared_from_this<Node> {
  Op op = Op::kError;
  Type type = Type::kInt;
  uint8_t depends = 0;
  uint8_t num_operands = 0;
  int32_t depth = 1;       // of the graph below, in nodes
  uint32_t tree_size = 1;  // nodes when written out as a tree; saturates
  Literal literal;
  Slot slot;  // of kParam, kLoad and kRows; slot.name is the message of kError
  std::array<std::shared_ptr<const Node>, kMaxOperands> operands;

  [[nodiscard]] std::span<const std::shared_ptr<const Node>> inputs() const {
    return {operands.data(), num_operands};
  }
};

using NodePtr = std::shared_ptr<const Node>;

/// The one node that equals `node`, with depends, depth and tree_size filled in. A node with an
/// erroneous operand becomes that error; one that is too deep becomes an error.
NodePtr intern(Node&& node);

/// How many nodes are alive, for tests of sharing and of leaks.
size_t num_live_nodes();

NodePtr make_error(std::string message);
NodePtr make_node(Op op, Type type, std::initializer_list<NodePtr> operands);

enum class Notation : uint8_t { kNone, kName, kPrefix, kInfix, kCall };

/// How an operation is written. Precedence as in C++, higher binds tighter.
struct OpInfo {
  std::string_view text;
  Notation notation = Notation::kNone;
  int precedence = 0;
  int num_operands = 0;
};
const OpInfo& info(Op op);

/// "an integer", "a float", "a predicate".
std::string_view describe(Type type);

/// Whether a slot or a let may have this name; not the words of the language.
bool is_name(std::string_view text);

/// Text for messages: to_string, cut after 60 characters.
std::string excerpt(const NodePtr& node);

}  // namespace attnrt::expr
