// SPDX-License-Identifier: Apache-2.0
// The definition of what an expression computes: one element at a time, straight from the graph.
// Slow on purpose, and without a line in common with the machines that are tested against it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "attnrt/expr.hpp"
#include "src/expr/graph.hpp"
#include "src/expr/program.hpp"

namespace attnrt::expr {

/// Where an expression is evaluated.
struct Point {
  int64_t b = 0;
  int64_t h = 0;
  int64_t hkv = 0;
  int64_t q = 0;
  int64_t kv = 0;
  int64_t q_len = 0;
  int64_t kv_len = 0;
  double score = 0.0;
};

/// kSingle is the language. kDouble keeps floats in double: the yardstick for rounding errors.
enum class Precision : uint8_t { kSingle, kDouble };

class Evaluator {
 public:
  /// Errors: of the expression, or of bind_slots.
  static Status create(const Expr& expression, std::span<const SlotValue> values,
                       Evaluator& evaluator, Precision precision = Precision::kSingle);

  /// The value, by the type of the expression. Not for several threads at once.
  bool predicate(const Point& point);
  int64_t integer(const Point& point);
  double real(const Point& point);

 private:
  struct Value {
    int64_t i = 0;  // of integers and predicates
    double f = 0.0;
  };
  struct Step {
    NodePtr node;
    std::array<size_t, kMaxOperands> operands{};
    size_t slot = 0;
  };

  void add(const NodePtr& node);
  const Value& run(const Point& point);
  [[nodiscard]] Value leaf(const Step& step, const Point& point) const;
  [[nodiscard]] Value load(const Step& step) const;
  [[nodiscard]] Value dot(const Step& step, const Point& point) const;
  [[nodiscard]] Value apply(const Step& step) const;
  [[nodiscard]] double rounded(double value) const;

  Expr expression_;
  Precision precision_ = Precision::kSingle;
  std::vector<Step> steps_;  // operands first
  std::vector<Value> values_;
  std::vector<Slot> slots_;
  Bindings bindings_;
};

}  // namespace attnrt::expr
