// SPDX-License-Identifier: Apache-2.0
// Unmerged states, one by one against the reference's: what other hosts are sent must mean the
// same to everybody.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "backends/reference/reference.hpp"
#include "tests/support/check.hpp"
#include "tests/support/partials.hpp"

namespace attnrt {
namespace {

using test::Output;
using test::Partials;
using test::Problem;
using test::ProblemShape;

std::vector<ProblemShape> shapes() {
  std::vector<ProblemShape> list(3);
  list.reserve(6);
  for (ProblemShape& shape : list) {
    shape.spec.num_heads_q = 6;
    shape.spec.num_heads_kv = 2;
    shape.spec.head_dim = 48;
  }
  list[0].sequences = {{1, 1500}, {1, 3}, {1, 0}, {2, 512}};
  list[1].spec.causal = true;
  list[1].spec.window_left = 530;  // hides the first splits from the last rows
  list[1].spec.has_sinks = true;   // left out of partials
  list[1].sequences = {{40, 1600}, {7, 7}, {300, 1100}};
  list[2].spec.softcap = 10.0f;
  list[2].spec.window_right = 5;
  list[2].sequences = {{3, 1100}, {5, 900}};
  list[2].sequences[0].q_start = 200;   // later splits have no visible keys
  list[2].sequences[1].q_start = -100;  // no split has
  // The same in bf16, on pages whose unused slots are NaN.
  for (size_t i = 0; i < 3; ++i) {
    list.push_back(list[i]);
    list.back().q_dtype = list.back().kv_dtype = DType::kBF16;
    list.back().layout = KvLayout::kPacked16;
    list.back().page_size = i == 1 ? 48 : 32;
  }
  return list;
}

// Empty, or how state `i` differs. The reference point may be any: value, mean and emptiness are
// what a state means.
std::string difference(const Partials& got, const Partials& want, size_t i, size_t dim,
                       double bound) {
  const std::string where = " in state " + std::to_string(i);
  if ((got.sum[i] == 0.0f) != (want.sum[i] == 0.0f)) return "emptiness differs" + where;
  if (want.sum[i] == 0.0f) {
    if (got.ref[i] != -std::numeric_limits<float>::infinity()) return "ref is not -inf" + where;
    for (size_t d = 0; d < dim; ++d) {
      if (got.acc[i * dim + d] != 0.0f) return "acc is not 0" + where;
    }
    return {};
  }
  const double lse = double{got.ref[i]} + std::log(double{got.sum[i]});
  const double want_lse = double{want.ref[i]} + std::log(double{want.sum[i]});
  if (!(std::fabs(lse - want_lse) <= 2e-5 * std::max(1.0, std::fabs(want_lse)))) {
    return "log-sum-exp differs" + where;
  }
  for (size_t d = 0; d < dim; ++d) {
    const double mean = double{got.acc[i * dim + d]} / got.sum[i];
    const double want_mean = double{want.acc[i * dim + d]} / want.sum[i];
    if (!(std::fabs(mean - want_mean) <= bound)) return "mean differs" + where;
  }
  return {};
}

}  // namespace

TEST_SUITE("partials") {
  TEST_CASE("every state of every split is the reference's, unseen splits are neutral") {
    for (const ProblemShape& shape : shapes()) {
      const Problem problem(shape);
      Plan plan;
      REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
      const int32_t splits = plan.num_splits() + 2;  // more room than needed is filled too
      Partials want(problem, splits);
      Output untouched = problem.make_output();
      AttendArgs args = problem.args(untouched);
      args.partial = want.view;
      reference::attend(problem.spec(), problem.batch(), args);
      for (const std::string& isa : test::usable_isas()) {
        CAPTURE(isa);
        for (const int32_t threads : {1, 3}) {
          Context context = test::cpu_context(isa, threads);
          Partials got(problem, splits);
          // |V| is below 1: the mean |V| that weights of bf16 are allowed 2^-8 of, too.
          const bool rounded = test::weights_of(context, problem) == reference::Weights::kBFloat16;
          const double bound = rounded ? 5e-6 + 0x1p-8 : 5e-6;
          args.partial = got.view;
          REQUIRE(attend(context, plan, args).ok());
          std::string wrong;
          for (size_t i = 0; i < got.sum.size() && wrong.empty(); ++i) {
            wrong = difference(got, want, i, 48, bound);
          }
          CHECK(wrong == "");
        }
      }
      const Output fresh = problem.make_output();
      CHECK(untouched.bytes == fresh.bytes);  // out and lse are unused with partials
      CHECK(untouched.lse == fresh.lse);
    }
  }
}

}  // namespace attnrt
