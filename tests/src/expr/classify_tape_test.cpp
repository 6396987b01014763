// SPDX-License-Identifier: Apache-2.0
#include "src/expr/classify_tape.hpp"

#include <doctest/doctest.h>

#include "src/expr/classify.hpp"

namespace attnrt::testing {
namespace {

expr::MaskProgram compiled(const std::string& text) {
  expr::Expr mask;
  REQUIRE(expr::parse(text, mask).ok());
  expr::MaskProgram program;
  REQUIRE(compile_mask(mask, program).ok());
  return program;
}

size_t steps_per_tile(const std::string& text) {
  const expr::MaskProgram program = compiled(text);
  return make_tape(*program.data()).order[static_cast<size_t>(expr::Rank::kElement)].size();
}

}  // namespace

TEST_CASE("a comparison is one step per tile, terms of q and kv apart") {
  CHECK(steps_per_tile("kv <= q") == 1);
  CHECK(steps_per_tile("q - kv < w + 3") == 1);
  CHECK(steps_per_tile("q + 5 - (kv + q) < kv * 1") == 0);  // q cancels
  CHECK(steps_per_tile("abs(q - kv) <= w") == 3);           // two comparisons and a conjunction
  CHECK(steps_per_tile("doc[q] == doc[kv]") == 1);
}

TEST_CASE("a predicate and its opposite are seen as such") {
  CHECK(steps_per_tile("q >= kv || q < kv") == 0);
  CHECK(steps_per_tile("q >= kv && b == 0 && q < kv") == 0);
  // Not of floats: a NaN makes both false.
  CHECK(steps_per_tile("f32 t[]; t[q] >= t[kv] || t[q] < t[kv]") > 0);
}

TEST_CASE("what could wrap stays where it is") {
  // 2^40 * 2^30 does not fit: moving terms would change the mask.
  const expr::MaskProgram program = compiled("q * p * t[kv] < kv * p");
  for (const expr::TapeStep& step : make_tape(*program.data()).steps) CHECK_FALSE(step.sum);
}

TEST_CASE("conjuncts that a tile leaves undecided are named") {
  const expr::MaskProgram program = compiled("kv <= q && q - kv < 100 && doc[q] == doc[kv]");
  std::vector<int32_t> doc(512);
  for (size_t i = 300; i < 512; ++i) doc[i] = 1;
  const std::vector<expr::SlotValue> values = {
      expr::buffer_value("doc", expr::ElementType::kI32, doc.data(), {512})};
  expr::Bindings bindings;
  REQUIRE(expr::bind_slots(program.slots(), values, bindings).ok());
  const expr::MaskAnalysis analysis(*program.data(), bindings);
  REQUIRE(analysis.tape().conjuncts.size() == 3);
  expr::TileClassifier classifier(analysis);
  classifier.set_sequence({.q_len = 512, .kv_len = 512});
  const auto undecided = [&](int64_t q, int64_t key) {
    classifier.set_queries(q, q + 32);
    REQUIRE(classifier.classify(key, key + 32) == expr::TileClass::kPartial);
    return classifier.undecided_conjuncts();
  };
  CHECK(undecided(64, 64) == 0b001);    // the diagonal
  CHECK(undecided(128, 32) == 0b010);   // the window's far side
  CHECK(undecided(320, 288) == 0b100);  // a document ends in between
  CHECK(undecided(288, 288) == 0b101);
}

}  // namespace attnrt::testing
