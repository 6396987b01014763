// SPDX-License-Identifier: Apache-2.0
// What is printed of expressions, compiled as C++, against their definition: every operation, the
// catalogues, and random graphs, in both widths of integers.
#include "backends/cuda/expr_source.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "backends/cuda/expr_slots.hpp"
#include "src/expr/evaluate.hpp"
#include "src/expr/lower_tile.hpp"
#include "tests/backends/cpu/expr_tables.hpp"
#include "tests/backends/cuda/generated/cases.hpp"
#include "tests/backends/cuda/generated/compiled.hpp"

namespace attnrt::test {

namespace {

using expr::Expr;
using expr::Point;
using expr::SlotValue;

constexpr expr::TileExtent kExtent{0, 64, 64, 2, 4, 2, 64, 64};

std::vector<Point> points() {
  std::vector<Point> made;
  for (int64_t q = 0; q < 48; q += 3) {
    for (int64_t kv = 0; kv < 48; kv += 1 + q % 2) {
      const int64_t h = (q + kv) % 4;
      made.push_back(
          {.b = kv % 2,
           .h = h,
           .hkv = h / 2,
           .q = q,
           .kv = kv,
           .q_len = 48,
           .kv_len = 47,
           .score = static_cast<double>(static_cast<float>((q * 7 + kv * 5) % 33) / 8.0f - 2.0f)});
    }
  }
  return made;
}

cuda::ExprPoint device_point(const Point& p) {
  return {p.q,
          p.kv,
          static_cast<int32_t>(p.b),
          static_cast<int32_t>(p.h),
          static_cast<int32_t>(p.hkv),
          static_cast<int32_t>(p.q_len),
          static_cast<int32_t>(p.kv_len)};
}

// A case with its slots bound, and what was compiled of it.
struct Prepared {
  expr::MaskProgram mask;
  expr::ScoreProgram score;
  expr::TileProgram code;
  expr::Bindings bindings;
  std::vector<cuda::DeviceSlot> slots;
  expr::Evaluator evaluator;
  bool compiles = false;

  Prepared(const Expr& expression, std::span<const SlotValue> values, bool is_mask) {
    const Status status =
        is_mask ? compile_mask(expression, mask) : compile_score(expression, score);
    if (!status.ok()) return;
    compiles = true;
    const expr::ProgramData& data = is_mask ? *mask.data() : *score.data();
    code = is_mask ? lower_mask(data) : lower_score(data);
    REQUIRE(bind_slots(data.slots, values, bindings, expr::CheckOrder::kNo).message() == "");
    REQUIRE(expr::Evaluator::create(expression, values, evaluator).message() == "");
    slots.resize(std::max<size_t>(1, bindings.slots.size()));
    cuda::device_slots(bindings.slots, slots.data());
  }
  [[nodiscard]] const SimtExpression* functions(bool wide) const {
    const bool is_mask = mask.valid();
    const cuda::SourceProgram program{code.code(), is_mask ? mask.slots() : score.slots(), wide};
    return find_compiled(cuda::expression_source(is_mask ? program : cuda::SourceProgram(),
                                                 is_mask ? cuda::SourceProgram() : program,
                                                 "Expression"));
  }
  [[nodiscard]] bool needs_wide() const {
    return needs_int64(code.code(), bindings.slots, kExtent);
  }
};

// Sums of products are taken in f32, in the order of d.
bool has_dot(const expr::NodePtr& node) {
  return node->op == expr::Op::kDot || std::ranges::any_of(node->inputs(), has_dot);
}

bool same_float(double want, float got, bool exact) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got);
  if (exact || std::isinf(want)) return static_cast<float>(want) == got;
  return std::fabs(static_cast<double>(got) - want) <= 1e-5 * std::max(1.0, std::fabs(want));
}

// Elements that are not as they are defined; -1 where a table is read beyond its ends.
int count_wrong(Prepared& made, std::span<const SlotValue> values, const SimtExpression& functions,
                bool exact) {
  const std::vector<Point> all = points();
  std::vector<float> got(all.size());
  SimtMemory memory;
  name_tables(values, memory);
  const bool is_mask = made.mask.valid();
  const std::string wrong = simt_run(SimtLaunch(), memory, [&] {
    if (cuda::device::thread_index() != 0) return;
    for (size_t i = 0; i < all.size(); ++i) {
      const cuda::ExprPoint at = device_point(all[i]);
      const cuda::DeviceSlot* slots = made.slots.data();
      got[i] = is_mask ? (functions.sees(slots, at) ? 1.0f : 0.0f)
                       : functions.score(slots, at, static_cast<float>(all[i].score));
    }
  });
  if (!wrong.empty()) return -1;
  int count = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    if (is_mask) {
      count += (got[i] != 0.0f) != made.evaluator.predicate(all[i]) ? 1 : 0;
    } else {
      count += same_float(made.evaluator.real(all[i]), got[i], exact) ? 0 : 1;
    }
  }
  return count;
}

void check(const Expr& expression, std::span<const SlotValue> values, bool is_mask) {
  Prepared made(expression, values, is_mask);
  if (!made.compiles) return;
  CAPTURE(to_string(expression));
  const bool exact = is_exact(expression.node()) && !has_dot(expression.node());
  for (const bool wide : {false, true}) {
    if (!wide && made.needs_wide()) continue;
    CAPTURE(wide);
    const SimtExpression* functions = made.functions(wide);
    REQUIRE((functions != nullptr));
    CHECK(count_wrong(made, values, *functions, exact) == 0);
  }
}

}  // namespace

TEST_SUITE("printed expressions") {
  TEST_CASE("operations and the catalogues") {
    const expr::catalogue::Tables tables;
    const std::vector<SlotValue> values = tables.values();
    for (const Expr& score : generated_scores()) {
      REQUIRE(score.valid());
      check(score, values, /*is_mask=*/false);
    }
    for (const auto& mask : expr::catalogue::kMasks) check(parsed(mask.text), values, true);
    for (const auto& mask : testing::mask_catalogue(kGeneratedTokens)) {
      check(parsed(mask.text), mask.values(), true);
    }
  }

  TEST_CASE("random graphs: masks of exact operations, and all scores of them") {
    uint32_t seed = 0;
    int masks = 0;
    int scores = 0;
    for (const Expr& mask : random_masks()) {
      if (!is_exact(mask.node())) continue;
      ++masks;
      check(mask, RandomTables(++seed).values(), true);
    }
    for (const Expr& score : random_scores()) {
      if (!is_exact(score.node())) continue;
      ++scores;
      check(score, RandomTables(++seed).values(), false);
    }
    CHECK(masks > kGeneratedRandom / 4);
    CHECK(scores > kGeneratedRandom / 8);
  }
}

}  // namespace attnrt::test
