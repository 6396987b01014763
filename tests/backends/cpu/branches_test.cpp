// SPDX-License-Identifier: Apache-2.0
// Several pairs of q and K over one V, on every ISA, against the definition: differential
// attention.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/build.hpp"
#include "tests/support/check.hpp"
#include "tests/support/programs.hpp"
#include "tests/support/random_cache.hpp"

namespace attnrt::test {
namespace {

// Prompts, chunks, single tokens, no keys, and more keys than a split.
ProblemShape branched_shape(int32_t branches) {
  ProblemShape shape;
  shape.spec.num_branches = branches;
  shape.spec.num_heads_q = 6;
  shape.spec.num_heads_kv = 2;
  shape.spec.head_dim = 40;
  shape.spec.head_dim_v = 80;
  shape.spec.causal = true;
  shape.sequences = {{.q_len = 60, .kv_len = 60},
                     {.q_len = 1, .kv_len = 1300},
                     {.q_len = 3, .kv_len = 0},
                     {.q_len = 7, .kv_len = 700}};
  return shape;
}

TEST_CASE("branches against the definition, every dtype and layout") {
  for (const int32_t branches : {2, 3, kMaxBranches}) {
    ProblemShape shape = branched_shape(branches);
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      shape.q_dtype = shape.kv_dtype = dtype;
      for (const KvLayout layout :
           {KvLayout::kPacked16, KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked}) {
        shape.layout = layout;
        check_on_every_isa(Problem(shape));
      }
    }
  }
}

TEST_CASE("every branch has the sinks, slopes, masks and rotation of its head") {
  ProblemShape shape = branched_shape(2);
  shape.spec.has_sinks = true;
  shape.spec.has_alibi = true;
  shape.spec.softcap = 2.0f;
  shape.spec.window_left = 100;
  shape.rotary = Rotary::kHalves;
  shape.gate = shape.residual = true;
  shape.epilogue_scale = 0.25f;
  shape.spec.mask = mask_of("(kv + h) % 3 != 0");
  shape.sequences.erase(shape.sequences.begin() + 2);
  check_on_every_isa(Problem(shape));
}

TEST_CASE("branches of a pointwise normalizer") {
  ProblemShape shape = branched_shape(2);
  shape.spec.normalizer = Normalizer::kPointwise;
  REQUIRE(expr::compile_score(expr::sigmoid(expr::score()), shape.spec.score).ok());
  check_on_every_isa(Problem(shape));
}

TEST_CASE("branches of MLA: V is a prefix of the first one's K") {
  ProblemShape shape = branched_shape(2);
  shape.mla = true;
  shape.spec.head_dim = 64;
  shape.spec.head_dim_v = 48;
  shape.spec.num_heads_kv = 1;
  check_on_every_isa(Problem(shape));
}

// Two calls, the second of which adds to what the first one wrote, compute the same.
TEST_CASE("two branches are two calls, within rounding, and weights 1 and 0 are one call's bits") {
  const Problem both(branched_shape(2));
  ProblemShape single = branched_shape(1);
  const Problem alone(single);
  for (const std::string& isa : usable_isas()) {
    CAPTURE(isa);
    Context context = cpu_context(isa);
    Plan plan, plan_alone;
    REQUIRE(make_plan(both.spec(), both.batch(), plan).ok());
    REQUIRE(make_plan(alone.spec(), alone.batch(), plan_alone).ok());
    Output together = both.make_output();
    Output apart = alone.make_output();
    REQUIRE(attend(context, plan, both.args(together)).message() == "");
    std::vector<float> weights = both.branch_weights;
    for (size_t i = 0; i < 2; ++i) {
      AttendArgs args = alone.args(apart);
      if (i == 1) {
        args.q = both.args(together).branches[0].q;
        args.kv.k = const_cast<void*>(both.args(together).branches[0].k);
        args.epilogue.residual = apart.view;
      }
      std::vector<float> gate;
      for (int64_t row = 0; row < both.total_q() * 6; ++row) {
        gate.insert(gate.end(), 80, weights[i * 6 + static_cast<size_t>(row % 6)]);
      }
      args.epilogue.gate =
          dense_tensor(static_cast<const float*>(gate.data()), DType::kF32, both.total_q(), 6, 80);
      REQUIRE(attend(context, plan_alone, args).message() == "");
    }
    double worst = 0.0;
    for (int64_t token = 0; token < both.total_q(); ++token) {
      for (int64_t head = 0; head < 6; ++head) {
        for (int64_t d = 0; d < 80; ++d) {
          const double off = together.at(token, head, d) - apart.at(token, head, d);
          worst = std::fmax(worst, std::fabs(off));
        }
      }
    }
    CHECK(worst < 1e-6);

    for (size_t i = 0; i < weights.size(); ++i) weights[i] = i < 6 ? 1.0f : 0.0f;
    AttendArgs args = both.args(together);
    args.branch_weights = weights;
    REQUIRE(attend(context, plan, args).ok());
    Output plain = alone.make_output();
    AttendArgs first = alone.args(plain);
    first.lse.data = nullptr;
    REQUIRE(attend(context, plan_alone, first).ok());
    const std::string wrong = check_same_bits(together, plain);
    CHECK_MESSAGE(wrong.empty(), wrong);
  }
}

TEST_CASE("a plan with branches counts their scores, keys and states") {
  Plan one, three;
  const Problem alone(branched_shape(1));
  const Problem branched(branched_shape(3));
  REQUIRE(make_plan(alone.spec(), alone.batch(), one).ok());
  REQUIRE(make_plan(branched.spec(), branched.batch(), three).ok());
  CHECK(three.num_scores() == 3 * one.num_scores());
  CHECK(three.kv_bytes(DType::kBF16) * (40 + 80) == one.kv_bytes(DType::kBF16) * (3 * 40 + 80));
}

// V and what lies around K stay as they are.
TEST_CASE("append_kv without v writes K only, into rows and packed16") {
  constexpr int32_t kDim = 24, kDimV = 40, kTokens = 3;
  const std::vector<float> k(size_t{kTokens} * 2 * kDim, 0.5f);
  const std::vector<float> v(size_t{kTokens} * 2 * kDimV, 0.25f);
  const std::vector<int64_t> slots = {32, 33, 70};
  for (const KvLayout layout : {KvLayout::kNHD, KvLayout::kPacked16}) {
    for (const char* backend : {"cpu", "reference"}) {
      CAPTURE(to_string(layout));
      CAPTURE(backend);
      Context context;
      ContextOptions options;
      options.backend = backend;
      REQUIRE(Context::create(options, context).ok());
      const CacheShape shape{
          .layout = layout, .page_size = 32, .head_dim = kDim, .head_dim_v = kDimV};
      const RandomCache before(shape, 4);
      RandomCache both(before);
      RandomCache keys(before);
      AppendArgs args;
      args.k = dense_tensor(k.data(), DType::kF32, kTokens, 2, kDim);
      args.v = dense_tensor(v.data(), DType::kF32, kTokens, 2, kDimV);
      args.slot_mapping = slots;
      args.kv = both.view;
      REQUIRE(append_kv(context, args).message() == "");
      args.kv = keys.view;
      args.kv.v = nullptr;
      CHECK(append_kv(context, args).message() == "kv.v is null");
      args.v = {};
      REQUIRE(append_kv(context, args).message() == "");
      int64_t other_k = 0, other_v = 0, written_v = 0;
      for (int64_t slot = 0; slot < 5 * 32; ++slot) {
        for (int64_t head = 0; head < 2; ++head) {
          for (int64_t d = 0; d < kDimV; ++d) {
            const uint32_t v_before = before.bits(true, slot, head, d);
            if (keys.bits(true, slot, head, d) != v_before) ++other_v;
            if (both.bits(true, slot, head, d) != v_before) ++written_v;
            if (d >= kDim) continue;
            if (keys.bits(false, slot, head, d) != both.bits(false, slot, head, d)) ++other_k;
          }
        }
      }
      CHECK(other_k == 0);
      CHECK(other_v == 0);
      CHECK(written_v > 0);
    }
  }
}

}  // namespace
}  // namespace attnrt::test
