// SPDX-License-Identifier: Apache-2.0
// Seeded random expressions over a fixed set of slots: every operation, all types, with sharing.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/expr.hpp"

namespace attnrt::expr {

class RandomExpressions {
 public:
  explicit RandomExpressions(uint32_t seed) : random_(seed) {}

  /// A predicate without the score.
  Expr mask(int depth) {
    with_score_ = false;
    shared_.clear();
    return predicate(depth);
  }

  /// A float that may use the score.
  Expr score(int depth) {
    with_score_ = true;
    shared_.clear();
    return real(depth);
  }

 private:
  int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }

  // Sometimes a sub-expression that was made before, so that graphs are not trees.
  Expr shared(Type type, Expr made) {
    if (below(4) == 0) {
      for (const Expr& old : shared_) {
        if (old.type() == type && below(3) == 0) return old;
      }
    }
    shared_.push_back(made);
    return made;
  }

  Expr int_leaf() {
    switch (below(10)) {
      case 0:
      case 1:
        return q();
      case 2:
      case 3:
        return kv();
      case 4:
        return below(2) != 0 ? b() : h();
      case 5:
        return below(2) != 0 ? q_len() : kv_len();
      case 6:
        return below(2) != 0 ? hkv() : iparam("window");
      case 7:
        return iparam(below(2) != 0 ? "stride" : "sinks");
      default:
        return below(40) - 12;
    }
  }

  Expr integer(int depth) {
    if (depth <= 0) return int_leaf();
    const Expr x = integer(depth - 1 - below(2));
    const Expr y = integer(depth - 1 - below(3));
    return shared(Type::kInt, integer_of(below(18), x, y, depth));
  }

  Expr integer_of(int choice, const Expr& x, const Expr& y, int depth) {
    switch (choice) {
      case 0:
        return x * y;
      case 1:
        return -x;
      case 2:
        return abs(x);
      case 3:
        return min(x, y);
      case 4:
        return max(x, y);
      case 5:
        return floordiv(x, y);
      case 6:
        return floormod(x, y);
      case 7:
        return x & y;
      case 8:
        return x | y;
      case 9:
        return x ^ y;
      case 10:
        return x << (below(8) - 1);
      case 11:
        return x >> (below(8) - 1);
      case 12:
        return select(predicate(depth - 2), x, y);
      case 13:
        return buffer("doc", ElementType::kI32, 1, Order::kSorted)[x];
      case 14:
        return buffer("grid", ElementType::kI8, 2)(x, y);
      case 15:
        return buffer("any", ElementType::kI32, 1)[x];
      case 16:
        return x + y;
      default:
        return x - y;
    }
  }

  Expr predicate(int depth) {
    if (depth <= 0) return below(8) == 0 ? Expr(below(2) != 0) : kv() <= q();
    return shared(Type::kPredicate, predicate_of(below(14), depth));
  }

  Expr predicate_of(int choice, int depth) {
    switch (choice) {
      case 0:
      case 1:
        return predicate(depth - 1) && predicate(depth - 1 - below(2));
      case 2:
        return predicate(depth - 1) || predicate(depth - 1 - below(2));
      case 3:
        return !predicate(depth - 1);
      case 4:
        return predicate(depth - 1) ^ predicate(depth - 2);
      case 5:
        return select(predicate(depth - 1), predicate(depth - 2), predicate(depth - 2));
      case 6:
        return buffer("flags", ElementType::kBool, 1)[integer(depth - 1)];
      case 7:
        return real(depth - 1) < real(depth - 2);
      case 8:
        return real(depth - 1) >= real(depth - 2);
      case 9:
        return integer(depth - 1) == integer(depth - 1);
      case 10:
        return integer(depth - 1) != integer(depth - 2);
      case 11:
        return integer(depth - 1) > integer(depth - 1);
      case 12:
        return integer(depth - 1) < integer(depth - 1);
      default:
        return integer(depth - 1) <= integer(depth - 1);
    }
  }

  Expr float_leaf() {
    if (with_score_ && below(2) == 0) return expr::score();
    switch (below(4)) {
      case 0:
        return fparam("cap");
      case 1:
        return buffer("phi", ElementType::kF32, 1)[int_leaf()];
      case 2:
        return to_float(int_leaf());
      default:
        return static_cast<float>(below(2000) - 1000) * 0.037f;
    }
  }

  Expr real(int depth) {
    if (depth <= 0) return float_leaf();
    const Expr x = real(depth - 1 - below(2));
    const Expr y = real(depth - 1 - below(3));
    return shared(Type::kFloat, real_of(below(24), x, y, depth));
  }

  Expr real_of(int choice, const Expr& x, const Expr& y, int depth) {
    using Unary = Expr (*)(const Expr&);
    static constexpr Unary kUnary[] = {exp, exp2, log,   log1p, tanh, sigmoid,
                                       erf, sqrt, rsqrt, sin,   cos,  abs};
    if (choice < 12) return kUnary[choice](x);
    switch (choice) {
      case 12:
        return x + y;
      case 13:
        return x - y;
      case 14:
        return x * y;
      case 15:
        return x / y;
      case 16:
        return min(x, y);
      case 17:
        return max(x, y);
      case 18:
        return fma(x, y, float_leaf());
      case 19:
        return pow(x, y);
      case 20:
        return -x;
      case 21:
        return select(predicate(depth - 2), x, y);
      case 22:
        return buffer("bias", ElementType::kBF16, 2)(integer(depth - 2), integer(depth - 2));
      default:
        return to_float(integer(depth - 1));
    }
  }

  std::mt19937 random_;
  bool with_score_ = false;
  std::vector<Expr> shared_;
};

}  // namespace attnrt::expr
