// SPDX-License-Identifier: Apache-2.0
// Which masks are closed forms, which are nearly, and that the forms say what the masks say.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "src/expr/evaluate.hpp"
#include "src/expr/recognise.hpp"
#include "tests/src/expr/catalogue_masks.hpp"
#include "tests/src/expr/random_expression.hpp"

namespace attnrt::expr {
namespace {

MaskProgram compiled(const std::string& text) {
  Expr expression;
  const Status parsed = parse(text, expression);
  REQUIRE_MESSAGE(parsed.ok(), text << ": " << parsed.message());
  MaskProgram program;
  REQUIRE(compile_mask(expression, program).ok());
  return program;
}

MaskForm form(const std::string& text) { return compiled(text).data()->mask_form; }

TEST_CASE("causal, however it is written") {
  for (const char* text : {"kv <= q",
                           "q >= kv",
                           "q - kv >= 0",
                           "0 <= q - kv",
                           "kv - q <= 0",
                           "kv < q + 1",
                           "q + 1 > kv",
                           "!(kv > q)",
                           "!(q < kv)",
                           "kv - q < 1",
                           "-q <= -kv",
                           "-1 * q + kv <= 0",
                           "kv + 3 <= q + 3",
                           "q - kv > -1",
                           "kv <= q && kv <= q + 5",
                           "kv <= q && true",
                           "!(kv > q || kv > q + 2)",
                           "kv + w <= q + w",
                           "!!(kv <= q)",
                           "2 * q - q >= kv"}) {
    const MaskForm f = form(text);
    CHECK_MESSAGE(f.exact(), text);
    CHECK_MESSAGE(f.causal(), text);
    CHECK_MESSAGE(f.right.size() == 1, text);
    CHECK_MESSAGE((f.left.empty() && f.documents.empty()), text);
  }
}

TEST_CASE("nearly causal") {
  struct Row {
    const char* text;
    bool exact;
    int64_t right;  // literal of the right bound; 99: none
  };
  const Row rows[] = {{"kv < q", true, -1},
                      {"kv <= q + 1", true, 1},
                      {"kv <= q - 1", true, -1},
                      {"q <= kv", true, 99},
                      {"kv <= 2 * q", false, 99},
                      {"2 * kv <= 2 * q", false, 99},
                      {"kv + q <= 0", false, 99},
                      {"kv <= b", false, 99},
                      {"kv <= q + b", false, 99},
                      {"kv <= q || b == 0", false, 99},
                      {"kv <= q ^ b == 0", false, 99},
                      {"kv <= q * 1.0", false, 99},
                      {"kv // 1 <= q", false, 99},
                      {"kv <= q + x + y", false, 99},
                      {"kv <= q && b == 0", false, 0},
                      {"kv != q", false, 99}};
  for (const Row& row : rows) {
    const MaskForm f = form(row.text);
    CHECK_MESSAGE(f.exact() == row.exact, row.text);
    CHECK_MESSAGE(f.right.size() == (row.right == 99 ? 0u : 1u), row.text);
    if (!f.right.empty()) CHECK_MESSAGE(f.right[0].literal == row.right, row.text);
  }
}

TEST_CASE("windows, with literals and with parameters") {
  const MaskForm sliding = form("q - kv < 4096 && kv <= q");
  CHECK(sliding.causal());
  CHECK(sliding.left == std::vector<Bound>{{4095, -1, 0}});
  CHECK(form("q - kv <= w").left == std::vector<Bound>{{0, 0, 1}});
  CHECK(form("q - kv < w").left == std::vector<Bound>{{-1, 0, 1}});
  CHECK(form("kv > q - w").left == std::vector<Bound>{{-1, 0, 1}});
  CHECK(form("kv >= q - w + 3").left == std::vector<Bound>{{-3, 0, 1}});
  CHECK(form("q + w < kv").left == std::vector<Bound>{{-1, 0, -1}});
  CHECK(form("kv - q <= w").right == std::vector<Bound>{{0, 0, 1}});
  CHECK(form("q - kv < 9 && q - kv < 5").left == std::vector<Bound>{{4, -1, 0}});

  const std::vector<Bound> five{{5, -1, 0}};
  for (const char* text : {"abs(q - kv) <= 5", "abs(kv - q) < 6", "5 >= abs(q - kv)"}) {
    const MaskForm symmetric = form(text);
    CHECK_MESSAGE(symmetric.exact(), text);
    CHECK_MESSAGE(symmetric.left == five, text);
    CHECK_MESSAGE(symmetric.right == five, text);
  }
  const MaskForm diagonal = form("q == kv");
  CHECK(diagonal.left == std::vector<Bound>{{0, -1, 0}});
  CHECK(diagonal.causal());
  CHECK(form("!(q != kv)").exact());
  CHECK_FALSE(form("abs(q - kv) >= 5").exact());
  CHECK_FALSE(form("!(abs(q - kv) < 5)").exact());
  CHECK_FALSE(form("abs(q + kv) <= 5").exact());
  CHECK_FALSE(form("abs(q - 2 * kv) <= 5").exact());
}

TEST_CASE("document tables") {
  CHECK(form("doc[q] == doc[kv]").documents == std::vector<int32_t>{0});
  CHECK(form("doc[kv] == doc[q] && doc[q] == doc[kv]").documents == std::vector<int32_t>{0});
  CHECK(form("doc[q] == doc[kv] && cluster[q] == cluster[kv] && kv <= q").exact());
  CHECK(form("!(doc[q] != doc[kv])").exact());
  for (const char* text :
       {"doc[q] == other[kv]", "doc[q] == doc[q + 0 * b]", "doc[q] == doc[kv + 1]",
        "doc[q] != doc[kv]", "doc[q] <= doc[kv]", "f32 doc[]; doc[q] == doc[kv]",
        "doc[b, q] == doc[b, kv]", "bool doc[]; doc[q] == doc[kv]"}) {
    CHECK_MESSAGE(form(text).documents.empty(), text);
    CHECK_MESSAGE(form(text).rest.size() == 1, text);
  }
}

TEST_CASE("what is left is the rest, negated where it must be") {
  const MaskProgram program = compiled("kv <= q && !(b == 1 || kv % 2 == 0) && h < 2");
  const MaskForm& f = program.data()->mask_form;
  CHECK(f.causal());
  REQUIRE(f.rest.size() == 3);
  CHECK(std::ranges::count(f.rest, true, &Conjunct::negated) == 2);
  for (const Conjunct& part : f.rest) {
    const ProgramNode& node = program.data()->nodes[size_t(part.node)];
    CHECK((node.op == Op::kEqual) == part.negated);
  }
  CHECK(form("true").exact());
  CHECK_FALSE(form("false").exact());
}

TEST_CASE("coefficients and literals that could wrap are left alone") {
  CHECK_FALSE(form("kv * 300 - kv * 299 <= q").exact());
  CHECK(form("kv <= q + 1099511627776").exact());
  CHECK_FALSE(form("kv * 1099511627776 * 1099511627776 <= q").exact());
  CHECK_FALSE(form("kv <= q + (w << 2)").exact());
}

TEST_CASE("sharing does not make recognition exponential") {
  Expr mask = kv() <= q();
  for (int i = 0; i < 150; ++i) mask = (mask && b() != i) && (mask && h() != i);
  MaskProgram program;
  CHECK(compile_mask(mask, program).ok());
  CHECK(program.data()->mask_form.rest.size() == 300);
}

// The definition of a form, element by element: bounds, documents and rest against the mask.
class FormChecker {
 public:
  FormChecker(const Expr& mask, std::span<const SlotValue> values) {
    REQUIRE(compile_mask(mask, program_).ok());
    REQUIRE(bind_slots(program_.slots(), values, bindings_).ok());
    REQUIRE(Evaluator::create(mask, values, whole_).ok());
    find_nodes(mask.node());
    for (const Conjunct& part : program_.data()->mask_form.rest) {
      parts_.emplace_back();
      const Expr node(order_[size_t(part.node)]);
      REQUIRE(Evaluator::create(node, values, parts_.back()).ok());
    }
  }

  bool agrees(const Point& p) {
    const MaskForm& form = program_.data()->mask_form;
    bool visible = true;
    for (const Bound& bound : form.right) visible &= p.kv - p.q <= value(bound);
    for (const Bound& bound : form.left) visible &= p.q - p.kv <= value(bound);
    for (const int32_t slot : form.documents) visible &= table(slot, p.q) == table(slot, p.kv);
    for (size_t i = 0; i < parts_.size(); ++i) {
      visible &= parts_[i].predicate(p) != form.rest[i].negated;
    }
    return visible == whole_.predicate(p);
  }

 private:
  // The order of compile: operands first, each node once.
  void find_nodes(const NodePtr& node) {
    if (std::ranges::find(order_, node) != order_.end()) return;
    for (const NodePtr& input : node->inputs()) find_nodes(input);
    order_.push_back(node);
  }

  [[nodiscard]] int64_t value(const Bound& bound) const {
    if (bound.slot < 0) return bound.literal;
    return bound.literal + bound.sign * bindings_.slots[size_t(bound.slot)].int_value;
  }

  [[nodiscard]] int64_t table(int32_t slot, int64_t i) const {
    const BoundSlot& bound = bindings_.slots[size_t(slot)];
    const int64_t at = std::clamp<int64_t>(i, 0, bound.shape[0] - 1) * bound.strides[0];
    if (bound.element == ElementType::kI8) return static_cast<const int8_t*>(bound.data)[at];
    return static_cast<const int32_t*>(bound.data)[at];
  }

  MaskProgram program_;
  Bindings bindings_;
  Evaluator whole_;
  std::vector<Evaluator> parts_;
  std::vector<NodePtr> order_;
};

int64_t disagreements(FormChecker& checker) {
  int64_t wrong = 0;
  for (int64_t q = 0; q < catalogue::kTokens; ++q) {
    for (int64_t kv = 0; kv < catalogue::kTokens; ++kv) {
      wrong += !checker.agrees(
          {.b = 1, .h = 2, .hkv = 1, .q = q, .kv = kv, .q_len = 40, .kv_len = 48, .score = 0.0});
    }
  }
  return wrong;
}

TEST_CASE("the forms of the catalogue say what the masks say") {
  const catalogue::Tables tables;
  const std::vector<SlotValue> values = tables.values();
  int exact = 0;
  for (const auto& c : catalogue::masks()) {
    Expr mask;
    REQUIRE(parse(c.text, mask).ok());
    FormChecker checker(mask, values);
    CHECK_MESSAGE(disagreements(checker) == 0, c.name);
    exact += compiled(c.text).data()->mask_form.exact();
  }
  CHECK(exact >= 9);
}

TEST_CASE("the forms of 2,000 random masks say what the masks say") {
  const int32_t table[] = {0, 0, 1, 1, 1, 2, 7, 9, 9};
  const int8_t grid[] = {1, -1, 2, 0};
  const uint8_t flags[] = {0, 1, 1};
  const float phi[] = {0.5f, -2.0f, 3.0f};
  const uint16_t bias[] = {0x3f80, 0xbf80};
  using enum ElementType;
  const SlotValue values[] = {int_value("window", 5),
                              int_value("stride", 3),
                              int_value("sinks", -2),
                              float_value("cap", 1.5f),
                              buffer_value("doc", kI32, table, {9}),
                              buffer_value("any", kI32, table, {9}),
                              buffer_value("grid", kI8, grid, {2, 2}),
                              buffer_value("flags", kBool, flags, {3}),
                              buffer_value("phi", kF32, phi, {3}),
                              buffer_value("bias", kBF16, bias, {1, 2})};
  RandomExpressions random(11);
  int64_t wrong = 0;
  int64_t with_bounds = 0;
  for (int i = 0; i < 2000; ++i) {
    const Expr mask = random.mask(1 + i % 4);
    FormChecker checker(mask, values);
    wrong += disagreements(checker);
    MaskProgram program;
    REQUIRE(compile_mask(mask, program).ok());
    const MaskForm& f = program.data()->mask_form;
    with_bounds += !f.left.empty() || !f.right.empty() || !f.documents.empty();
  }
  CHECK(wrong == 0);
  CHECK(with_bounds > 200);
}

}  // namespace
}  // namespace attnrt::expr
