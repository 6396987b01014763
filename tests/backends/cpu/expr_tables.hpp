// SPDX-License-Identifier: Apache-2.0
// Random expressions whose value is the same on every machine, and tables for them.
#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <random>
#include <vector>

#include "attnrt/tensor.hpp"
#include "src/expr/graph.hpp"
#include "tests/src/expr/random_expression.hpp"

namespace attnrt::test {

/// Whether all machines give the same bits.
inline bool is_exact(const expr::NodePtr& node) {
  using expr::Op;
  const bool function = node->op >= Op::kExp && node->op != Op::kSqrt;
  return !function && std::ranges::all_of(node->inputs(), is_exact);
}

/// Values for RandomExpressions: NaN, infinities and large ints included.
class RandomTables {
 public:
  explicit RandomTables(uint32_t seed) : random_(seed) {
    for (int32_t& x : any_) x = number(seed % 3 == 0 ? 1 << 30 : 60);
    doc_ = any_;
    std::ranges::sort(doc_);
    for (int8_t& x : grid_) x = static_cast<int8_t>(number(127));
    for (uint8_t& x : flags_) x = static_cast<uint8_t>(std::max(0, number(3)));
    for (float& x : phi_) x = static_cast<float>(number(1000)) / 64.0f;
    phi_[3] = std::numeric_limits<float>::quiet_NaN();
    phi_[5] = -std::numeric_limits<float>::infinity();
    for (uint16_t& x : bias_) x = f32_to_bf16(static_cast<float>(number(500)) / 32.0f);
    values_ = {expr::int_value("window", number(20)),
               expr::int_value("stride", number(seed % 4 == 0 ? 1 << 30 : 9)),
               expr::int_value("sinks", number(5)),
               expr::float_value("cap", 1.75f),
               expr::buffer_value("doc", expr::ElementType::kI32, doc_.data(), {50}),
               expr::buffer_value("any", expr::ElementType::kI32, any_.data(), {50}),
               expr::buffer_value("grid", expr::ElementType::kI8, grid_.data(), {10, 20}),
               expr::buffer_value("flags", expr::ElementType::kBool, flags_.data(), {90}),
               expr::buffer_value("phi", expr::ElementType::kF32, phi_.data(), {70}),
               expr::buffer_value("bias", expr::ElementType::kBF16, bias_.data(), {30, 40})};
  }
  [[nodiscard]] const std::vector<expr::SlotValue>& values() const { return values_; }

 private:
  int32_t number(int32_t bound) {
    return static_cast<int32_t>(random_() % (2 * static_cast<uint32_t>(bound) + 1)) - bound;
  }
  std::mt19937 random_;
  std::array<int32_t, 50> doc_{}, any_{};
  std::array<int8_t, 200> grid_{};
  std::array<uint8_t, 90> flags_{};
  std::array<float, 70> phi_{};
  std::array<uint16_t, 1200> bias_{};
  std::vector<expr::SlotValue> values_;
};

}  // namespace attnrt::test
