// SPDX-License-Identifier: Apache-2.0
// Masks and scores as the attention kernels ask them: a class with
//
//   static constexpr bool kMask, kScore           which of the two it has
//   bool sees(const ExprPoint& at) const          whether the row sees the key
//   float score(const ExprPoint& at, float) const the score, from the scaled one
//
// which expr_source.hpp prints from a program. Here is what the kernels themselves need of one.
#pragma once

#include "backends/cuda/device/device.hpp"

namespace attnrt::cuda {

/// An element of the scores, in the words of attnrt/expr.hpp.
struct ExprPoint {
  int64_t q;
  int64_t kv;
  int32_t b;
  int32_t h;
  int32_t hkv;
  int32_t q_len;
  int32_t kv_len;
};

/// Closed forms alone.
struct NoExpression {
  static constexpr bool kMask = false;
  static constexpr bool kScore = false;
};

/// Asks an expression about a thread's two rows.
template <class Expression>
class Asker {
 public:
  explicit ATTNRT_DEVICE Asker(const Expression& expression) : expression_(expression) {}

  template <class Rows, class Row>
  ATTNRT_DEVICE void set_row(uint32_t half, const Rows& rows, const Row& row) {
    rows_[half] = rows.point(row);
  }
  [[nodiscard]] ATTNRT_DEVICE bool sees(int half, int32_t key) const {
    return expression_.sees(at(half, key));
  }
  [[nodiscard]] ATTNRT_DEVICE float score(int half, int32_t key, float score) const {
    return expression_.score(at(half, key), score);
  }

 private:
  [[nodiscard]] ATTNRT_DEVICE ExprPoint at(int half, int32_t key) const {
    ExprPoint point = rows_[half];
    point.kv = key;
    return point;
  }

  const Expression& expression_;
  ExprPoint rows_[2] = {};
};

template <>
class Asker<NoExpression> {
 public:
  explicit ATTNRT_DEVICE Asker(const NoExpression&) {}
  template <class Rows, class Row>
  ATTNRT_DEVICE void set_row(uint32_t, const Rows&, const Row&) {}
};

}  // namespace attnrt::cuda
