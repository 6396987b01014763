// SPDX-License-Identifier: Apache-2.0
// Scores inside the kernels against their definition: a task with one key has its score as the
// reference of its state.
#include <doctest/doctest.h>

#include "tests/backends/cpu/expr_case.hpp"
#include "tests/backends/cpu/expr_tables.hpp"
#include "tests/src/expr/catalogue_scores.hpp"

namespace attnrt::test {
namespace {

using expr::Expr;

KernelShape score_shape(int32_t tokens, int32_t group, int32_t heads_kv, int32_t kv_len) {
  KernelShape s;
  s.tokens = tokens;
  s.group = group;
  s.heads_kv = heads_kv;
  s.head_dim = 16;
  s.head_dim_v = 1;
  s.kv_len = kv_len;
  s.window_right = -1;
  return s;
}

// The score of every (token, head) for one key; NaN where it is NaN.
std::vector<float> scores_of(const KernelCase& c, const cpu::KernelTable& table,
                             const TileCase* score, int32_t key, Width width) {
  const KernelOutput to = c.output();
  cpu::AttendTask task = tile_task(c, 0, c.shape.tokens, to, {nullptr, score, width}, {});
  task.key_begin = key;
  task.key_end = key + 1;
  PartialBuffer states(1, int64_t{c.shape.tokens} * c.shape.heads_q(), c.shape.head_dim_v);
  const cpu::PartialTarget target = states.target();
  task.partial = &target;
  task.partial_first_split = key / kSplitKeys;
  TileScratch scratch;
  scratch.give_to(task);
  c.kernel(table)(task);
  for (size_t i = 0; i < states.ref.size(); ++i) {
    if (std::isnan(states.sum[i])) states.ref[i] = states.sum[i];
  }
  return states.ref;
}

// The largest error, in units of `bound(want)`.
template <class Bound>
double worst_error(const KernelCase& c, const cpu::KernelTable& table, TileCase& score, Width width,
                   const Bound& bound) {
  const KernelShape& s = c.shape;
  double worst = 0.0;
  for (int32_t key = 0; key < s.kv_len; ++key) {
    const std::vector<float> natural = scores_of(c, table, nullptr, key, width);
    const std::vector<float> got = scores_of(c, table, &score, key, width);
    for (int32_t token = 0; token < s.tokens; ++token) {
      for (int32_t head = 0; head < s.heads_q(); ++head) {
        const auto row = static_cast<size_t>(token * s.heads_q() + head);
        expr::Point point = point_of(s, token, head, key);
        point.score = natural[row];
        const double want = score.evaluator().real(point);
        const double x = got[row];
        if (x == want || (std::isnan(x) && std::isnan(want))) continue;
        // +inf as the largest score makes a NaN of its weight.
        if (want == kInf && std::isnan(x)) continue;
        const double error = std::abs(x - want) / bound(want);
        worst = std::isnan(error) ? kInf : std::max(worst, error);
      }
    }
  }
  return worst;
}

template <class Bound>
void check_score(const KernelCase& c, const Expr& expression,
                 std::span<const expr::SlotValue> values, const Bound& bound) {
  TileCase score(expression, values, /*is_mask=*/false);
  REQUIRE(score.status().ok());
  CAPTURE(to_string(expression));
  CAPTURE(c.shape.text());
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    CHECK(worst_error(c, *table, score, Width::kAsNeeded, bound) <= 1.0);
    CHECK(worst_error(c, *table, score, Width::kWide, bound) <= 1.0);
  }
}

// A few ulp of the value, and of terms of a few units that cancel.
double ulps_bound(double want) { return 2e-6 + 1e-6 * std::abs(want); }
double no_error(double) { return 0.0; }

TEST_CASE("scores of the catalogue, element by element") {
  const expr::catalogue::Tables tables;
  const std::vector<expr::SlotValue> values = tables.values();
  const KernelCase tall(score_shape(9, 2, 2, 60));
  const KernelCase decode(score_shape(1, 4, 1, 30));
  for (const auto& at : expr::catalogue::scores()) {
    Expr score;
    REQUIRE(parse(at.text, score).ok());
    check_score(tall, score, values, ulps_bound);
    check_score(decode, score, values, ulps_bound);
  }
}

// Of single functions, over their whole range: the result and its neighbours in double.
TEST_CASE("every function of floats is within 4 ulp") {
  std::vector<float> arguments = {0.0f,    -0.0f,  1.0f,  -1.0f,   0.5f,   100.0f,
                                  -100.0f, 88.7f,  89.0f, -103.0f, 128.0f, 1e-9f,
                                  -1e-9f,  3e-41f, 1e10f, -1e10f,  1e38f,  -1e38f};
  for (int i = 0; i < 200; ++i) {
    arguments.push_back(static_cast<float>(std::sin(i * 12.9898)) *
                        std::exp2(static_cast<float>(i % 24 - 16)));
  }
  arguments.push_back(static_cast<float>(kInf));
  arguments.push_back(static_cast<float>(-kInf));
  arguments.push_back(static_cast<float>(kNaN));
  const auto count = static_cast<int32_t>(arguments.size());
  const expr::SlotValue values[] = {
      expr::buffer_value("x", expr::ElementType::kF32, arguments.data(), {count})};
  KernelShape s = score_shape(1, 1, 1, count);
  const KernelCase c(s);
  const auto bound = [](double want) { return std::max(4.0 * 0x1p-24 * std::abs(want), 0x1p-148); };
  for (const char* text : {"exp(x[kv])", "exp2(x[kv])", "log(x[kv])", "log1p(x[kv])", "tanh(x[kv])",
                           "sigmoid(x[kv])", "erf(x[kv])", "sqrt(x[kv])", "rsqrt(x[kv])",
                           "sin(x[kv])", "cos(x[kv])", "pow(x[kv], 1.5)", "pow(2.0, x[kv])"}) {
    Expr score;
    REQUIRE(parse("f32 x[]; " + std::string(text), score).ok());
    check_score(c, score, values, bound);
  }
}

TEST_CASE("random scores of exact operations, element by element") {
  expr::RandomExpressions random(23);
  std::vector<KernelCase> cases;
  cases.emplace_back(score_shape(10, 1, 1, 20));
  cases.emplace_back(score_shape(2, 2, 2, 20));
  cases.emplace_back(score_shape(1, 7, 1, 20));
  for (uint32_t n = 0; n < 300;) {
    const Expr score = random.score(2 + static_cast<int>(n % 3));
    if (!is_exact(score.node())) continue;
    const RandomTables tables(n);
    check_score(cases[n % cases.size()], score, tables.values(), no_error);
    ++n;
  }
}

}  // namespace
}  // namespace attnrt::test
