// SPDX-License-Identifier: Apache-2.0
// The reference at the edges: special values, rotation, LSE habits and partials.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "backends/reference/reference.hpp"
#include "backends/reference/reference_backend.hpp"
#include "tests/support/problem.hpp"

namespace attnrt {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

doctest::Approx close(double value) { return doctest::Approx(value).epsilon(1e-6); }

test::ProblemShape one_head(int32_t head_dim, int32_t kv_len) {
  test::ProblemShape shape;
  shape.spec.num_heads_q = 1;
  shape.spec.num_heads_kv = 1;
  shape.spec.head_dim = head_dim;
  shape.spec.softmax_scale = 1.0f;
  shape.sequences.push_back({.q_len = 1, .kv_len = kv_len});
  return shape;
}

reference::Row row_of(const test::Problem& problem, int64_t token = 0) {
  test::Output unused = problem.make_output();
  return reference::attend_row(problem.spec(), problem.batch(), problem.args(unused),
                               {0, token, 0});
}

// q and K of zeros, and V counting keys.
test::Problem blank(const test::ProblemShape& shape) {
  test::Problem problem(shape);
  for (int32_t d = 0; d < shape.spec.head_dim; ++d) {
    for (int32_t t = 0; t < shape.sequences[0].q_len; ++t) problem.set_q(0, t, 0, d, 0.0);
    for (int32_t key = 0; key < shape.sequences[0].kv_len; ++key) {
      problem.set_k(0, key, 0, d, 0.0);
      if (!shape.mla) problem.set_v(0, key, 0, d, key + 1.0);
    }
  }
  return problem;
}

}  // namespace

TEST_SUITE("reference") {
  TEST_CASE("rotation turns pairs of halves, or neighbours, and leaves the rest") {
    const std::vector<float> cos{1, 1, 0, 0.6f}, sin{0, 0, 1, 0.8f};
    RotaryView rotary;
    rotary.cos = cos.data();
    rotary.sin = sin.data();
    rotary.max_position = 2;
    rotary.rotary_dim = 4;
    std::vector<double> row{1, 2, 3, 4, 5};
    reference::rotate(rotary, 0, row.data());
    CHECK(row == std::vector<double>{1, 2, 3, 4, 5});
    reference::rotate(rotary, 1, row.data());  // (1, 3) by 90 degrees, (2, 4) by acos 0.6
    CHECK(row[0] == close(-3));
    CHECK(row[1] == close(2 * 0.6 - 4 * 0.8));
    CHECK(row[2] == close(1));
    CHECK(row[3] == close(2 * 0.8 + 4 * 0.6));
    CHECK(row[4] == 5);
    row = {1, 2, 3, 4, 5};
    rotary.interleaved = true;
    reference::rotate(rotary, 1, row.data());
    CHECK(row[0] == close(-2));
    CHECK(row[1] == close(1));
    CHECK(row[2] == close(3 * 0.6 - 4 * 0.8));
    CHECK(row[3] == close(3 * 0.8 + 4 * 0.6));
    CHECK(row[4] == 5);
  }

  TEST_CASE("q is rotated at q_start + token, or all of it at q_start") {
    test::ProblemShape shape = one_head(2, 1);
    shape.sequences[0] = {.q_len = 2, .kv_len = 1, .q_start = 1};
    test::Problem problem = blank(shape);
    for (int32_t t = 0; t < 2; ++t) problem.set_q(0, t, 0, 0, 1.0);
    problem.set_k(0, 0, 0, 0, 10.0);
    problem.set_k(0, 0, 0, 1, 100.0);
    const std::vector<float> cos{9, 0.6f, 0.8f}, sin{9, 0.8f, 0.6f};
    test::Output unused = problem.make_output();
    AttendArgs args = problem.args(unused);
    args.rotary_q.cos = cos.data();
    args.rotary_q.sin = sin.data();
    args.rotary_q.max_position = 3;
    args.rotary_q.rotary_dim = 2;
    const auto lse = [&](int64_t token) {
      return reference::attend_row(problem.spec(), problem.batch(), args, {0, token, 0}).lse;
    };
    CHECK(lse(0) == close(6 + 80));
    CHECK(lse(1) == close(8 + 60));
    args.rotary_q_constant = true;
    CHECK(lse(1) == close(6 + 80));
  }

  TEST_CASE("MLA: V is the first columns of K") {
    test::ProblemShape shape = one_head(3, 2);
    shape.spec.head_dim_v = 2;
    shape.mla = true;
    test::Problem problem = blank(shape);
    problem.set_k(0, 0, 0, 0, 4.0);
    problem.set_k(0, 1, 0, 1, 6.0);
    problem.set_k(0, 1, 0, 2, std::log(3.0));
    problem.set_q(0, 0, 0, 2, 1.0);
    const reference::Row row = row_of(problem);
    CHECK(row.out.size() == 2);
    CHECK(row.out[0] == close(1.0));
    CHECK(row.out[1] == close(4.5));
  }

  TEST_CASE("huge scores, falling maxima, and infinities") {
    test::Problem problem = blank(one_head(1, 3));
    problem.set_q(0, 0, 0, 0, 1.0);
    problem.set_k(0, 0, 0, 0, 1e30);
    problem.set_k(0, 1, 0, 0, -1e30);
    CHECK(row_of(problem).out[0] == 1.0);
    CHECK(row_of(problem).lse == close(1e30));
    problem.set_k(0, 0, 0, 0, -kInfinity);  // a visible key of no weight
    CHECK(row_of(problem).out[0] == 3.0);
    CHECK(row_of(problem).lse == 0.0);
    problem.set_k(0, 1, 0, 0, -kInfinity);
    problem.set_k(0, 2, 0, 0, -kInfinity);  // as if nothing were visible
    CHECK(row_of(problem).out[0] == 0.0);
    CHECK(row_of(problem).lse == -kInfinity);
    problem.set_k(0, 2, 0, 0, kInfinity);  // inf / inf
    CHECK(std::isnan(row_of(problem).out[0]));
  }

  TEST_CASE("NaN reaches the rows that see it, and no other") {
    test::ProblemShape shape = one_head(1, 3);
    shape.spec.causal = true;
    shape.sequences[0] = {.q_len = 3, .kv_len = 3, .spare = 2};
    for (const bool in_k : {false, true}) {
      test::Problem problem = blank(shape);
      if (in_k) problem.set_k(0, 1, 0, 0, kNan);
      if (!in_k) problem.set_v(0, 1, 0, 0, kNan);
      CHECK(row_of(problem, 0).out[0] == 1.0);
      CHECK(std::isnan(row_of(problem, 1).out[0]));
      CHECK(std::isnan(row_of(problem, 2).out[0]));
      CHECK(std::isnan(row_of(problem, 2).lse) == in_k);
    }
  }

  TEST_CASE("LSE base, order and the value of the empty set") {
    std::vector<float> lse(6, 7.0f);
    LseView view{lse.data()};
    reference::store_lse(view, 2, 1, 3, 2, 1.0);
    CHECK(lse[5] == 1.0f);
    view.order = LseOrder::kTokensFirst;
    view.base = LseBase::kTwo;
    reference::store_lse(view, 1, 0, 3, 2, 1.0);
    CHECK(double{lse[2]} == close(std::numbers::log2e));
    reference::store_lse(view, 0, 0, 3, 2, -kInfinity);
    CHECK(lse[0] == -std::numeric_limits<float>::infinity());
    view.empty = LseEmpty::kPlusInf;
    reference::store_lse(view, 0, 0, 3, 2, -kInfinity);
    CHECK(lse[0] == std::numeric_limits<float>::infinity());
    CHECK(lse[1] == 7.0f);
    reference::store_lse(LseView{}, 0, 0, 3, 2, 1.0);  // no data: nothing to write
  }

  TEST_CASE("partials merge to the row, sinks added once") {
    test::ProblemShape shape = one_head(4, 1100);
    shape.spec.window_left = 700;  // the first split is partly, then not at all, visible
    shape.sequences[0].q_len = 2;
    shape.sequences[0].q_start = 1100;
    const test::Problem problem(shape);
    test::Output output = problem.make_output();
    const int32_t splits = 4;  // one more than there are keys
    std::vector<float> acc(2 * splits * 4), ref(2 * splits), sum(2 * splits);
    AttendArgs args = problem.args(output);
    args.partial = {acc.data(), ref.data(), sum.data(), splits};
    reference::attend(problem.spec(), problem.batch(), args);
    CHECK(ref[2 * 3] == -std::numeric_limits<float>::infinity());
    CHECK(sum[2 * 3] == 0.0f);
    CHECK(acc[2 * 3 * 4] == 0.0f);

    const float sink = 3.0f;
    MergeTask task;
    task.partials = {&args.partial, 1};
    task.out = output.view;
    task.lse = output.lse_view;
    task.sinks = &sink;
    std::unique_ptr<BackendState> state;
    REQUIRE(reference::reference_backend().create_state({}, state).ok());
    REQUIRE(reference::reference_backend().merge(*state, task).ok());
    test::ProblemShape with_sink = shape;
    with_sink.spec.has_sinks = true;
    test::Problem whole(with_sink);
    whole.sinks[0] = sink;
    for (int64_t token = 0; token < 2; ++token) {
      const reference::Row row = row_of(whole, token);
      CHECK(double{output.lse[static_cast<size_t>(token)]} == close(row.lse));
      for (int64_t d = 0; d < 4; ++d) {
        CHECK(output.at(token, 0, d) == close(row.out[static_cast<size_t>(d)]));
      }
    }
  }

  TEST_CASE("finished states merge by their weights; empty ones are neutral") {
    const std::vector<float> a{10, 1}, b{20, 2}, none{0, 0};
    const float ln2 = std::log(2.0f), ln6 = std::log(6.0f);
    const float empty = -std::numeric_limits<float>::infinity();
    const auto view = [](const std::vector<float>& out) {
      return dense_tensor(static_cast<const void*>(out.data()), DType::kF32, 1, 1, 2);
    };
    std::vector<float> out(2);
    float lse = 0.0f;
    MergeTask task;
    task.out = dense_tensor(static_cast<void*>(out.data()), DType::kF32, 1, 1, 2);
    task.lse = LseView{&lse};
    std::unique_ptr<BackendState> state;
    REQUIRE(reference::reference_backend().create_state({}, state).ok());

    const std::vector<StateView> three{{view(none), &empty}, {view(a), &ln2}, {view(b), &ln6}};
    task.states = three;
    REQUIRE(reference::reference_backend().merge(*state, task).ok());
    CHECK(double{out[0]} == close((2 * 10.0 + 6 * 20.0) / 8));
    CHECK(double{out[1]} == close((2 * 1.0 + 6 * 2.0) / 8));
    CHECK(double{lse} == close(std::log(8.0)));

    const std::vector<StateView> nothing{{view(none), &empty}, {view(none), &empty}};
    task.states = nothing;
    REQUIRE(reference::reference_backend().merge(*state, task).ok());
    CHECK(out == none);
    CHECK(lse == empty);
    task.sinks = &ln2;
    REQUIRE(reference::reference_backend().merge(*state, task).ok());
    CHECK(out == none);
    CHECK(lse == ln2);
  }

  TEST_CASE("the naive computation is close to the reference, but not the same") {
    test::ProblemShape shape = one_head(64, 200);
    shape.spec.softmax_scale.reset();
    const test::Problem problem(shape);
    test::Output unused = problem.make_output();
    const reference::Row naive =
        reference::naive_row(problem.spec(), problem.batch(), problem.args(unused), {0, 0, 0});
    const reference::Row row = row_of(problem);
    double worst = 0.0;
    for (size_t d = 0; d < 64; ++d) worst = std::fmax(worst, std::fabs(row.out[d] - naive.out[d]));
    CHECK(worst > 1e-9);
    CHECK(worst < 1e-5);
  }
}

}  // namespace attnrt
