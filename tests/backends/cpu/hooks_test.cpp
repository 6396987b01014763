// SPDX-License-Identifier: Apache-2.0
// What surrounds the softmax: pointwise weights, epilogues, row maxima and
// hooks, on every ISA, against the definition.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "attnrt/tile_functor.hpp"
#include "tests/support/check.hpp"
#include "tests/support/programs.hpp"

namespace attnrt::test {
namespace {

// Sequences with prompts, chunks, single tokens, no keys, and more keys than a
// split.
ProblemShape mixed_shape() {
  ProblemShape shape;
  shape.spec.num_heads_q = 6;
  shape.spec.num_heads_kv = 2;
  shape.spec.head_dim = 48;
  shape.spec.head_dim_v = 32;
  shape.spec.causal = true;
  shape.layout = KvLayout::kPacked16;
  shape.sequences = {{.q_len = 40, .kv_len = 40},
                     {.q_len = 1, .kv_len = 1300},
                     {.q_len = 3, .kv_len = 0},
                     {.q_len = 7, .kv_len = 130}};
  return shape;
}

void check_dtypes(ProblemShape shape) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    shape.q_dtype = shape.kv_dtype = dtype;
    for (const KvLayout layout : {KvLayout::kPacked16, KvLayout::kNHD}) {
      shape.layout = layout;
      check_on_every_isa(Problem(shape));
    }
  }
}

TEST_CASE("sigmoid attention: weights are not normalised") {
  ProblemShape shape = mixed_shape();
  shape.spec.normalizer = Normalizer::kPointwise;
  shape.spec.score = score_of("sigmoid(score - log(to_float(kv_len)))");
  check_dtypes(shape);
}

TEST_CASE("relu squared over n, with a mask") {
  ProblemShape shape = mixed_shape();
  shape.spec.normalizer = Normalizer::kPointwise;
  shape.spec.score = score_of("let r = max(score, 0.0); r * r / kv_len");
  shape.spec.mask = mask_of("(q + kv) % 3 != 0");
  check_dtypes(shape);
}

TEST_CASE("pointwise: a score of -inf weighs 0, as what is masked") {
  ProblemShape shape = mixed_shape();
  shape.spec.normalizer = Normalizer::kPointwise;
  shape.spec.score = score_of("select(kv % 5 == 0, -1.0 / 0.0, score)");
  check_dtypes(shape);
}

TEST_CASE("gate, scale and residual, alone and together") {
  for (const int which : {1, 2, 4, 7}) {
    CAPTURE(which);
    ProblemShape shape = mixed_shape();
    shape.gate = (which & 1) != 0;
    shape.residual = (which & 2) != 0;
    shape.epilogue_scale = (which & 4) != 0 ? -0.75f : 1.0f;
    check_dtypes(shape);
  }
}

TEST_CASE("the residual may be out itself: two branches of differential attention") {
  ProblemShape shape = mixed_shape();
  const Problem first(shape);
  shape.seed = 2;
  shape.epilogue_scale = -0.5f;
  const Problem second(shape);
  for (const std::string& isa : usable_isas()) {
    CAPTURE(isa);
    Context context = cpu_context(isa);
    Plan plan;
    REQUIRE(make_plan(first.spec(), first.batch(), plan).ok());
    Output apart = first.make_output();
    Output sum = first.make_output();
    REQUIRE(attend(context, plan, first.args(apart)).ok());
    REQUIRE(attend(context, plan, first.args(sum)).ok());
    AttendArgs args = second.args(sum);
    args.epilogue.residual = sum.view;
    REQUIRE(attend(context, plan, args).message() == "");
    Output other = second.make_output();
    REQUIRE(attend(context, plan, second.args(other)).ok());
    for (int64_t token = 0; token < first.total_q(); ++token) {
      for (int64_t d = 0; d < 32; ++d) {
        const double want = apart.at(token, 1, d) + other.at(token, 1, d);
        CHECK(sum.at(token, 1, d) == doctest::Approx(want).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("row maxima are those of visible scores; rows without any have -inf") {
  ProblemShape shape = mixed_shape();
  shape.row_max = true;
  shape.spec.has_sinks = true;
  check_dtypes(shape);
}

TEST_CASE("a NaN score makes the row's maximum NaN, and every NaN is the same one") {
  constexpr uint32_t kOneNan = 0x7fc00000;
  ProblemShape shape = mixed_shape();
  shape.layout = KvLayout::kNHD;
  shape.row_max = true;
  for (const char* score : {"score", "select(kv == 5, -1.0 / 0.0, score)"}) {
    shape.spec.score = score_of(score);
    Problem problem(shape);
    problem.set_k(0, 5, 1, 3, std::numeric_limits<double>::quiet_NaN());
    problem.set_v(1, 700, 0, 3, -std::numeric_limits<double>::quiet_NaN());
    check_on_every_isa(problem);
    for (const std::string& isa : usable_isas()) {
      CAPTURE(isa);
      Context context = cpu_context(isa);
      Output output = problem.make_output();
      REQUIRE(run(context, problem, output) == "ok");
      const auto has_other_nan = [](float x) {
        return std::isnan(x) && std::bit_cast<uint32_t>(x) != kOneNan;
      };
      CHECK(std::ranges::none_of(output.row_max, has_other_nan));
      CHECK(std::ranges::none_of(output.lse, has_other_nan));
      const std::span<const float> out(reinterpret_cast<const float*>(output.bytes.data()),
                                       output.bytes.size() / sizeof(float));
      CHECK(std::ranges::none_of(out, has_other_nan));
    }
  }
}

// Doubles scores of even keys and hides nothing; by position, so that any cut
// gives the same.
void double_even_keys(const TileRow& row, void* user) {
  const float factor = *static_cast<const float*>(user);
  for (int32_t i = 0; i < row.num_keys; ++i) {
    if ((row.key_begin + i) % 2 == 0) row.values[i] *= factor;
  }
}

void drop_by_place(const TileRow& row, void*) {
  for (int32_t i = 0; i < row.num_keys; ++i) {
    if ((row.position * 31 + row.key_begin + i + row.head) % 4 == 0) row.values[i] = 0.0f;
  }
}

TEST_CASE("hooks see every visible element once, and change what they should") {
  float factor = 2.0f;
  ProblemShape shape = mixed_shape();
  shape.score_hook = {double_even_keys, &factor};
  check_dtypes(shape);
  shape.score_hook = {};
  shape.weight_hook = {drop_by_place, nullptr};
  check_dtypes(shape);
}

TEST_CASE("a functor is a hook without a call for each element") {
  const auto bias = [](float score, const TileElement& at) {
    return score +
           0.25f * static_cast<float>(at.key - at.position) * (at.head % 2 == 0 ? 1.0f : 0.5f);
  };
  ProblemShape shape = mixed_shape();
  shape.score_hook = tile_hook(bias);
  check_dtypes(shape);

  // The same as ALiBi with these slopes.
  const Problem by_functor(shape);
  shape.score_hook = {};
  shape.spec.has_alibi = true;
  Problem by_option(shape);
  for (size_t h = 0; h < by_option.alibi_slopes.size(); ++h) {
    by_option.alibi_slopes[h] = h % 2 == 0 ? 0.25f : 0.125f;
  }
  Context context = cpu_context();
  Output a = by_functor.make_output();
  Output b = by_option.make_output();
  REQUIRE(run(context, by_functor, a) == "ok");
  REQUIRE(run(context, by_option, b) == "ok");
  for (int64_t token = 0; token < by_option.total_q(); ++token) {
    CHECK(a.at(token, 3, 5) == doctest::Approx(b.at(token, 3, 5)).epsilon(1e-4));
  }
}

TEST_CASE("what has no meaning is refused by name") {
  ProblemShape shape = mixed_shape();
  shape.spec.normalizer = Normalizer::kPointwise;
  const Problem problem(shape);
  Plan plan;
  REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
  Context context = cpu_context();
  Output output = problem.make_output();
  const auto refused = [&](const AttendArgs& args) {
    return attend(context, plan, args).message();
  };
  AttendArgs args = problem.args(output);
  args.lse.data = output.lse.data();
  CHECK(refused(args) == "lse is given, a pointwise normalizer has none");
  args = problem.args(output);
  args.row_max = output.lse.data();
  CHECK(refused(args) == "row_max is given, a pointwise normalizer has none");
  args = problem.args(output);
  args.partial.acc = output.lse.data();
  CHECK(refused(args) == "partial is given, states of a pointwise normalizer cannot be merged");
  args = problem.args(output);
  args.epilogue.scale = std::numeric_limits<float>::quiet_NaN();
  CHECK(refused(args) == "epilogue.scale is nan, must be finite");
  args = problem.args(output);
  args.epilogue.gate = output.view;
  CHECK(refused(args) == "out overlaps epilogue.gate");
  args.epilogue.gate.shape[1] = 5;
  CHECK(refused(args) == "epilogue.gate.shape[1] is 5, must be 6 (num_heads_q)");
  AttentionSpec spec = problem.spec();
  spec.normalizer = Normalizer::kSoftmax;
  Plan merged;
  REQUIRE(make_plan(spec, problem.batch(), merged).ok());
  args = problem.args(output);
  args.partial.acc = output.lse.data();
  args.epilogue.scale = 0.5f;
  CHECK(attend(context, merged, args).message() ==
        "epilogue.scale is 0.5, must be 1 together with partial");
  spec = problem.spec();
  spec.has_sinks = true;
  CHECK(make_plan(spec, problem.batch(), plan).message() ==
        "has_sinks is set, a pointwise normalizer has no sum for them");
}

}  // namespace
}  // namespace attnrt::test
