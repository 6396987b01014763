// SPDX-License-Identifier: Apache-2.0
// The scalar reference against plain C++: the catalogue, and every rule at its edge.
#include "src/expr/evaluate.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "tests/src/expr/catalogue_masks.hpp"
#include "tests/src/expr/catalogue_scores.hpp"

namespace attnrt::expr {
namespace {

Evaluator evaluator(const std::string& text, std::span<const SlotValue> values = {}) {
  Expr expression;
  const Status parsed = parse(text, expression);
  REQUIRE_MESSAGE(parsed.ok(), text << ": " << parsed.message());
  Evaluator made;
  const Status created = Evaluator::create(expression, values, made);
  REQUIRE_MESSAGE(created.ok(), text << ": " << created.message());
  return made;
}

int64_t integer(const std::string& text) { return evaluator(text).integer({}); }
bool predicate(const std::string& text) { return evaluator(text).predicate({}); }

template <class Visit>
void for_all_points(Visit visit) {
  for (int64_t b = 0; b < catalogue::kBatch; ++b) {
    for (int64_t h = 0; h < catalogue::kHeads; ++h) {
      for (int64_t q = 0; q < catalogue::kTokens; ++q) {
        for (int64_t kv = 0; kv < catalogue::kTokens; ++kv) {
          visit(Point{b, h, h / 2, q, kv, 40, catalogue::kTokens, std::sin(0.3 * double(q * kv))});
        }
      }
    }
  }
}

TEST_CASE("masks of the catalogue are what plain C++ computes") {
  const catalogue::Tables tables;
  const std::vector<SlotValue> values = tables.values();
  CHECK(catalogue::masks().size() >= 30);
  for (const catalogue::MaskCase& c : catalogue::masks()) {
    Evaluator mask = evaluator(c.text, values);
    int64_t wrong = 0;
    for_all_points([&](const Point& p) { wrong += mask.predicate(p) != c.definition(tables, p); });
    CHECK_MESSAGE(wrong == 0, c.name);
  }
}

TEST_CASE("scores of the catalogue are what plain C++ computes") {
  const catalogue::Tables tables;
  const std::vector<SlotValue> values = tables.values();
  CHECK(catalogue::scores().size() >= 15);
  for (const catalogue::ScoreCase& c : catalogue::scores()) {
    Evaluator single = evaluator(c.text, values);
    Expr expression;
    REQUIRE(parse(c.text, expression).ok());
    Evaluator twice;
    REQUIRE(Evaluator::create(expression, values, twice, Precision::kDouble).ok());
    double worst_single = 0.0;
    double worst_double = 0.0;
    for_all_points([&](const Point& p) {
      const double expected = c.definition(tables, p);
      const double scale = std::max(1.0, std::fabs(expected));
      worst_single = std::max(worst_single, std::fabs(single.real(p) - expected) / scale);
      worst_double = std::max(worst_double, std::fabs(twice.real(p) - expected) / scale);
    });
    CHECK_MESSAGE(worst_single < 2e-6, c.name);  // a few roundings to float
    CHECK_MESSAGE(worst_double < 2e-7, c.name);  // literals and parameters are floats
  }
}

TEST_CASE("integers: floor division, shifts and bits at their edges") {
  CHECK(integer("floordiv(q - 7, 2)") == -4);
  CHECK(integer("floormod(q - 7, 2)") == 1);
  CHECK(integer("floordiv(q + 7, -2)") == -4);
  CHECK(integer("floormod(q + 7, -2)") == -1);
  CHECK(integer("floordiv(q + 7, kv)") == 0);
  CHECK(integer("floormod(q + 7, kv)") == 0);
  CHECK(integer("floordiv(q + 7, -1)") == -7);
  CHECK(integer("floormod(q + 7, -1)") == 0);
  CHECK(integer("q + 5 << 2") == 20);
  CHECK(integer("q + 5 << 64") == 0);
  CHECK(integer("q + 5 << -1") == 0);
  CHECK(integer("q - 5 >> 1") == -3);
  CHECK(integer("q - 5 >> 64") == -1);
  CHECK(integer("q + 5 >> -1") == 0);
  CHECK(integer("~(q + 5)") == -6);
  CHECK(integer("(q + 12 & 10) | 1 ^ 3") == 10);
  CHECK(integer("-(q + 3)") == -3);
  CHECK(integer("abs(q - 3) + min(q, 2) + max(q, 2)") == 5);
  CHECK(integer("clamp(q + 9, 1, 4)") == 4);
  CHECK(integer("select(q == 0, 3, 4)") == 3);
}

TEST_CASE("integers wrap at 64 bits") {
  const std::string big = "(q + 1099511627776)";  // 2^40
  CHECK(integer(big + " * " + big) == 0);
  CHECK(integer("(q + 1 << 62) + (q + 1 << 62)") == std::numeric_limits<int64_t>::min());
  CHECK(integer("-(q + 1 << 63)") == std::numeric_limits<int64_t>::min());
  CHECK(integer("abs(q + 1 << 63)") == std::numeric_limits<int64_t>::min());
  CHECK(integer("floordiv(q + 1 << 63, -1)") == std::numeric_limits<int64_t>::min());
}

TEST_CASE("predicates") {
  CHECK(predicate("(q == 0) == (kv == 0)"));
  CHECK(predicate("(q == 0) != (kv == 1)"));
  CHECK(predicate("q == 0 ^ kv == 1"));
  CHECK(predicate("~(q > 0) & !(kv < 0) | false"));
  CHECK(predicate("select(q == 0, kv == 0, kv == 1)"));
}

TEST_CASE("a NaN compares false except by !=, and loses in min and max on the left only") {
  const std::string nan = "(to_float(q) / to_float(q))";  // 0 / 0
  for (const char* op : {"<", "<=", ">", ">=", "=="}) {
    CHECK_FALSE(predicate(nan + op + "1.0"));
    CHECK_FALSE(predicate(std::string("1.0") + op + nan));
    CHECK(predicate("!(" + nan + op + "1.0)"));
  }
  CHECK(predicate(nan + " != " + nan));
  CHECK(evaluator("min(" + nan + ", 1.0)").real({}) == 1.0);
  CHECK(evaluator("max(" + nan + ", 1.0)").real({}) == 1.0);
  CHECK(std::isnan(evaluator("min(1.0, " + nan + ")").real({})));
  CHECK(std::isnan(evaluator("max(1.0, " + nan + ")").real({})));
}

TEST_CASE("floats are rounded to binary32 at every operation, fma once") {
  CHECK(evaluator("to_float(q + 16777217)").real({}) == 16777216.0);
  CHECK(evaluator("0.1 + 0.2 + to_float(q)").real({}) == double(0.1f + 0.2f));
  CHECK(evaluator("1.0 / (q + 3)").real({}) == double(1.0f / 3.0f));
  const double product =
      evaluator("fma(to_float(q + 16777215), 16777215.0, -281474943156224.0)").real({});
  CHECK(product == 1.0);  // 0 if the product were rounded
  CHECK(std::isinf(evaluator("exp(to_float(q) + 100.0)").real({})));
}

TEST_CASE("indices are clamped, dimension by dimension, and strides are obeyed") {
  const int32_t data[] = {1, 2, 3, 10, 20, 30};
  const SlotValue dense[] = {buffer_value("t", ElementType::kI32, data, {2, 3})};
  const auto read = [](std::span<const SlotValue> values, const std::string& index) {
    return evaluator("t[" + index + "]", values).integer({});
  };
  CHECK(read(dense, "0, 1") == 2);
  CHECK(read(dense, "-5, 1") == 2);
  CHECK(read(dense, "7, 1") == 20);
  CHECK(read(dense, "0, 99") == 3);
  CHECK(read(dense, "1, -1") == 10);
  SlotValue repeated[] = {dense[0]};
  repeated[0].strides = {0, 1};
  CHECK(read(repeated, "1, 2") == 3);
}

TEST_CASE("elements of every type are read as what they are") {
  const int8_t bytes[] = {-3};
  const uint8_t flags[] = {2};
  const uint16_t halves[] = {0x3fc0};
  using enum ElementType;
  const SlotValue values[] = {buffer_value("bytes", kI8, bytes, {1}),
                              buffer_value("flags", kBool, flags, {1}),
                              buffer_value("halves", kBF16, halves, {1})};
  CHECK(evaluator("i8 bytes[]; bytes[q]", values).integer({}) == -3);
  CHECK(evaluator("bool flags[]; flags[q]", values).predicate({}));
  CHECK(evaluator("bf16 halves[]; halves[q]", values).real({}) == 1.5);
}

TEST_CASE("dot picks the head's rows: h on the q side, hkv on the other") {
  const float q_side[] = {1, 2, 3, 4};  // (head 2, position 1, d 2)
  const float kv_side[] = {10, 100};    // (head 1, position 1, d 2)
  const SlotValue values[] = {buffer_value("x", ElementType::kF32, q_side, {2, 1, 2}),
                              buffer_value("y", ElementType::kF32, kv_side, {1, 1, 2})};
  Evaluator score = evaluator("f32 x[,,]; f32 y[,,]; score + dot(x, y)", values);
  CHECK(score.real({.h = 0}) == 210.0);
  CHECK(score.real({.h = 1}) == 430.0);
}

TEST_CASE("an evaluator refuses mistakes and missing values") {
  Evaluator made;
  CHECK(Evaluator::create(Expr(), {}, made).message() == "the expression is empty");
  CHECK(Evaluator::create(q() + fparam("x") * (q() == 1), {}, made).message() ==
        "the right side of '*' is a predicate: q == 1");
  CHECK(Evaluator::create(iparam("w") + 1, {}, made).message() == "slot 'w' has no value");
}

}  // namespace
}  // namespace attnrt::expr
