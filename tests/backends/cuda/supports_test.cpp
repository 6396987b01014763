// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/supports.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "attnrt/expr.hpp"
#include "tests/support/problem.hpp"

namespace attnrt::cuda {
namespace {

using test::Problem;
using test::ProblemShape;

ProblemShape good_shape() {
  ProblemShape shape;
  shape.spec.num_heads_q = shape.spec.num_heads_kv = 2;
  shape.spec.head_dim = 64;
  shape.spec.causal = true;
  shape.q_dtype = shape.kv_dtype = DType::kBF16;
  shape.sequences = {{1, 20}};
  return shape;
}

// What the backend says, with the tensors said to be on the device: it does not look at them.
Status answer(const ProblemShape& shape, const std::function<void(AttendArgs&)>& change) {
  const Problem problem(shape);
  Plan plan;
  const Status planned = make_plan(problem.spec(), problem.batch(), plan);
  REQUIRE_MESSAGE(planned.ok(), planned.message());
  test::Output output = problem.make_output();
  AttendArgs args = problem.args(output);
  args.q.device = args.kv.device = Device::kCuda;
  change(args);
  return supports_attend(*plan.data(), args);
}

void check_refused(const Status& status, const std::string& words) {
  CHECK(status.code() == Code::kUnsupported);
  CAPTURE(status.message());
  CHECK(status.message().find(words) != std::string::npos);
}

void unchanged(AttendArgs&) {}

}  // namespace

TEST_SUITE("what the CUDA backend takes") {
  TEST_CASE("all of a good call, in every layout that is not packed16, closed forms, expressions") {
    for (const KvLayout layout : {KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked}) {
      ProblemShape shape = good_shape();
      shape.layout = layout;
      shape.spec.softcap = 20.0f;
      shape.spec.has_alibi = shape.spec.has_sinks = true;
      shape.spec.window_left = 5;
      shape.rotary = test::Rotary::kHalves;
      REQUIRE(expr::compile_mask(expr::kv() % 2 == 0, shape.spec.mask).ok());
      REQUIRE(expr::compile_score(expr::score() * 2.0, shape.spec.score).ok());
      CHECK(answer(shape, unchanged).message() == "");
    }
  }

  TEST_CASE("what is not there is refused by name") {
    check_refused(answer(good_shape(), [](AttendArgs& a) { a.q.device = Device::kCpu; }),
                  "q.device is cpu");
    ProblemShape shape = good_shape();
    shape.layout = KvLayout::kPacked16;
    check_refused(answer(shape, unchanged), "kv.layout is packed16");
    shape = good_shape();
    shape.kv_dtype = DType::kF32;
    check_refused(answer(shape, unchanged), "kv.dtype is f32");
    shape.kv_dtype = DType::kF16;
    check_refused(answer(shape, unchanged), "q.dtype is bf16 and kv.dtype f16");
    shape = good_shape();
    shape.spec.head_dim = 257;
    check_refused(answer(shape, unchanged), "head_dim is 257");
    shape = good_shape();
    shape.spec.num_heads_kv = 1;
    shape.mla = true;
    check_refused(answer(shape, unchanged), "kv.v_is_k_prefix");
    shape = good_shape();
    shape.spec.arithmetic = Arithmetic::kFloat32;
    check_refused(answer(shape, unchanged), "arithmetic is kFloat32");
  }

  TEST_CASE("epilogues, row maxima and hooks are refused by name") {
    static float number = 1.0f;
    check_refused(answer(good_shape(), [](AttendArgs& a) { a.epilogue.scale = 2.0f; }), "epilogue");
    check_refused(answer(good_shape(), [](AttendArgs& a) { a.epilogue.gate.data = &number; }),
                  "epilogue");
    check_refused(answer(good_shape(), [](AttendArgs& a) { a.epilogue.residual.data = &number; }),
                  "epilogue");
    check_refused(answer(good_shape(), [](AttendArgs& a) { a.row_max = &number; }), "row_max");
    const auto hook = [](const TileRow&, void*) {};
    check_refused(answer(good_shape(), [&](AttendArgs& a) { a.score_hook.call = hook; }),
                  "score_hook");
    check_refused(answer(good_shape(), [&](AttendArgs& a) { a.weight_hook.call = hook; }),
                  "weight_hook");
    ProblemShape shape = good_shape();
    REQUIRE(expr::compile_score(expr::score() * 2.0, shape.spec.score).ok());
    shape.spec.normalizer = Normalizer::kPointwise;
    check_refused(answer(shape, unchanged), "spec.normalizer is kPointwise");
    shape = good_shape();
    shape.spec.num_branches = 2;
    check_refused(answer(shape, unchanged), "spec.num_branches is 2");
  }

  TEST_CASE("an append to packed16 is refused by name, to every dtype of other layouts taken") {
    std::vector<std::byte> memory(1 << 16);
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      AppendArgs args;
      args.kv = KvView::packed16(memory.data(), dtype, 1, 16, 1, 64);
      check_refused(supports_append(args), "kv.layout is packed16");
      args.kv = KvView::paged(memory.data(), memory.data(), dtype, KvLayout::kHND, 1, 16, 1, 64);
      CHECK(supports_append(args).ok());
    }
  }

  TEST_CASE("merges of many, and of wide rows") {
    std::vector<PartialView> partials(9);
    MergeTask task;
    task.partials = partials;
    task.out.shape = {1, 1, 64};
    check_refused(supports_merge(task), "partials has 9 entries");
    task.partials = {partials.data(), 8};
    CHECK(supports_merge(task).ok());
    task.out.shape[2] = 257;
    check_refused(supports_merge(task), "out.shape[2] is 257");
  }
}

}  // namespace attnrt::cuda
