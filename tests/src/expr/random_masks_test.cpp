// SPDX-License-Identifier: Apache-2.0
// Soundness over random expressions with random tables, wrap-around, NaN and infinities included.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <random>

#include "src/expr/classify.hpp"
#include "tests/support/prepared_mask.hpp"

namespace attnrt::testing {
namespace {

using expr::ElementType;
using expr::Expr;
using expr::TileClass;

constexpr int32_t kExpressions = 20'000;
constexpr int32_t kTableLength = 200;

class RandomMask {
 public:
  explicit RandomMask(uint32_t seed) : random_(seed) {
    const bool sorted = one_in(2);
    for (size_t i = 0; i < ints_.size(); ++i) ints_[i] = number(one_in(3) ? 1 << 30 : 20);
    if (sorted) std::ranges::sort(ints_);
    for (size_t i = 0; i < bools_.size(); ++i) bools_[i] = static_cast<int8_t>(number(2) > 0);
    for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<int8_t>(number(128));
    for (float& x : floats_) x = static_cast<float>(number(1000)) / 256.0f;
    if (one_in(4)) floats_[index()] = std::numeric_limits<float>::quiet_NaN();
    if (one_in(4)) floats_[index()] = -std::numeric_limits<float>::infinity();
    if (one_in(3)) std::ranges::sort(floats_, [](float x, float y) { return x < y; });
    param_ = number(one_in(4) ? 1 << 30 : 30);
    values_ = {expr::int_value("p", param_),
               expr::float_value("x", 0.5f),
               expr::buffer_value("ti", ElementType::kI32, ints_.data(), {kTableLength}),
               expr::buffer_value("tb", ElementType::kBool, bools_.data(), {20, 10}),
               expr::buffer_value("tc", ElementType::kI8, bytes_.data(), {5, 4, 10}),
               expr::buffer_value("tf", ElementType::kF32, floats_.data(), {kTableLength})};
    mask_ = predicate(4);
  }

  [[nodiscard]] const Expr& mask() const { return mask_; }
  [[nodiscard]] const std::vector<expr::SlotValue>& values() const { return values_; }

 private:
  int32_t number(int32_t bound) {
    return static_cast<int32_t>(random_() % (2 * static_cast<uint32_t>(bound) + 1)) - bound;
  }
  bool one_in(uint32_t n) { return random_() % n == 0; }
  size_t index() { return random_() % kTableLength; }

  Expr predicate(int depth) {
    const auto kind = random_() % (depth <= 0 ? 4 : 13);
    switch (kind) {
      case 0:
        return integer(depth - 1) < integer(depth - 1);
      case 1:
        return integer(depth - 1) <= integer(depth - 1);
      case 2:
        return integer(depth - 1) == integer(depth - 1);
      case 3:
        return integer(depth - 1) != integer(depth - 1);
      case 4:
        return real(depth - 1) < real(depth - 1);
      case 5:
        return real(depth - 1) == real(depth - 1);
      case 6:
        return predicate(depth - 1) || predicate(depth - 1);
      case 7:
      case 8:
        return predicate(depth - 1) && predicate(depth - 1);
      case 9:
        return !predicate(depth - 1);
      case 10:
        return predicate(depth - 1) ^ predicate(depth - 1);
      case 11:
        return select(predicate(depth - 1), predicate(depth - 1), predicate(depth - 1));
      default:
        return buffer("tb", ElementType::kBool, 2)(integer(depth - 1), integer(depth - 1));
    }
  }

  Expr leaf() {
    switch (random_() % 9) {
      case 0:
      case 1:
      case 2:
        return expr::q();
      case 3:
      case 4:
      case 5:
        return expr::kv();
      case 6:
        return expr::iparam("p");
      case 7:
        return one_in(2) ? expr::h() : expr::kv_len();
      default:
        return Expr(one_in(12) ? int64_t{number(1 << 30)} << 9 : int64_t{number(40)});
    }
  }

  Expr integer(int depth) {
    if (depth <= 0) return leaf();
    switch (random_() % 20) {
      case 0:
      case 1:
        return integer(depth - 1) + integer(depth - 1);
      case 2:
      case 3:
      case 4:
        return integer(depth - 1) - integer(depth - 1);
      case 5:
        return integer(depth - 1) * integer(depth - 1);
      case 6:
        return -integer(depth - 1);
      case 7:
        return abs(integer(depth - 1));
      case 8:
        return min(integer(depth - 1), integer(depth - 1));
      case 9:
        return max(integer(depth - 1), integer(depth - 1));
      case 10:
        return floordiv(integer(depth - 1), integer(depth - 1));
      case 11:
        return floormod(integer(depth - 1), integer(depth - 1));
      case 12:
        return integer(depth - 1) & integer(depth - 1);
      case 13:
        return integer(depth - 1) | integer(depth - 1);
      case 14:
        return integer(depth - 1) ^ integer(depth - 1);
      case 15:
        return integer(depth - 1) << Expr(static_cast<int>(random_() % 66) - 1);
      case 16:
        return integer(depth - 1) >> (one_in(2) ? Expr(3) : integer(depth - 1));
      case 17:
        return select(predicate(depth - 1), integer(depth - 1), integer(depth - 1));
      case 18:
        return buffer("ti", ElementType::kI32, 1)[integer(depth - 1)];
      default:
        return buffer("tc", ElementType::kI8, 3)(integer(depth - 1), integer(depth - 1), leaf());
    }
  }

  Expr real(int depth) {
    if (depth <= 0)
      return one_in(2) ? Expr(static_cast<float>(number(9)) / 2.0f) : to_float(leaf());
    const Expr x =
        one_in(2) ? buffer("tf", ElementType::kF32, 1)[integer(depth - 1)] : real(depth - 1);
    switch (random_() % 18) {
      case 0:
        return x + real(depth - 1);
      case 1:
        return x - real(depth - 1);
      case 2:
        return x * real(depth - 1);
      case 3:
        return x / real(depth - 1);
      case 4:
        return abs(x);
      case 5:
        return min(x, real(depth - 1));
      case 6:
        return max(real(depth - 1), x);
      case 7:
        return fma(x, real(depth - 1), real(depth - 1));
      case 8:
        return tanh(x);
      case 9:
        return exp(x);
      case 10:
        return log(x);
      case 11:
        return sqrt(x);
      case 12:
        return one_in(2) ? sigmoid(x) : erf(x);
      case 13:
        return one_in(2) ? rsqrt(x) : log1p(x);
      case 14:
        return one_in(2) ? sin(x) : exp2(x);
      case 15:
        return pow(x, real(depth - 1));
      case 16:
        return select(predicate(depth - 1), x, real(depth - 1));
      default:
        return -x;
    }
  }

  std::mt19937 random_;
  std::array<int32_t, kTableLength> ints_{};
  std::array<int8_t, kTableLength> bools_{};
  std::array<int8_t, kTableLength> bytes_{};
  std::array<float, kTableLength> floats_{};
  int64_t param_ = 0;
  std::vector<expr::SlotValue> values_;
  Expr mask_;
};

struct Decided {
  int64_t empty = 0;
  int64_t full = 0;
  int64_t wrong = 0;
};

void check_tiles(PreparedMask& mask, int32_t size, const std::vector<uint8_t>& elements,
                 Decided& decided) {
  const MaskShape& shape = mask.shape();
  expr::TileClassifier classifier(mask.analysis());
  classifier.set_sequence(mask.scope());
  for (int32_t i = 0; i < shape.q_len; i += size) {
    const int32_t q_end = std::min(shape.q_len, i + size);
    classifier.set_queries(shape.q_begin + i, shape.q_begin + q_end);
    for (int32_t key = 0; key < shape.kv_len; key += size) {
      const int32_t key_end = std::min(shape.kv_len, key + size);
      const TileClass found = classifier.classify(key, key_end);
      if (found == TileClass::kPartial) continue;
      ++(found == TileClass::kEmpty ? decided.empty : decided.full);
      if (found != mask.class_of(elements, i, q_end, key, key_end)) ++decided.wrong;
    }
  }
}

}  // namespace

TEST_CASE("no tile of a random mask is declared empty or full that is not") {
  Decided decided;
  int32_t masks = 0;
  for (uint32_t seed = 0; masks < kExpressions; ++seed) {
    const RandomMask random(seed);
    const int32_t offset = seed % 5 == 0 ? 1'000'003 : static_cast<int32_t>(seed % 90);
    const MaskShape shape{offset, 9, 13, 0, 2};
    PreparedMask mask(random.mask(), random.values(), shape);
    const std::vector<uint8_t> elements = mask.elements();
    const int64_t wrong = decided.wrong;
    for (const int32_t size : {1, 3, 8, 16}) check_tiles(mask, size, elements, decided);
    ++masks;
    if (decided.wrong != wrong) {
      CAPTURE(seed);
      CHECK_MESSAGE(decided.wrong == wrong, to_string(random.mask()));
      break;
    }
  }
  CHECK(decided.wrong == 0);
  // Or the test could not fail.
  CHECK(decided.empty > 10 * kExpressions);
  CHECK(decided.full > 10 * kExpressions);
}

}  // namespace attnrt::testing
