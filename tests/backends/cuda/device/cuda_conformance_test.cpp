// SPDX-License-Identifier: Apache-2.0
// The CUDA backend against the contract, on the device that is there; skipped where there is none.
// Built a second time for the emulated device, with fewer and smaller problems.
#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "backends/cuda_plugin.hpp"
#include "tests/backends/conformance.hpp"
#include "tests/backends/cuda/cuda_shapes.hpp"
#include "tests/backends/cuda/device/device_mirror.hpp"
#include "tests/backends/cuda/rotated_query.hpp"
#include "tests/support/build.hpp"
#include "tests/support/check.hpp"
#include "tests/support/skip.hpp"

namespace attnrt::test {
namespace {

#if defined(ATTNRT_TEST_CUDA_EMULATED)
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

// False where there is no device, having said so.
bool device_context(Context& context, void* stream = nullptr) {
  const Capability cuda = cuda_plugin().capability();
  if (!cuda.available) {
    skip("no CUDA device: " + cuda.reason);
    return false;
  }
  ContextOptions options;
  options.backend = "cuda";
  options.stream = stream;
  const Status status = Context::create(options, context);
  REQUIRE_MESSAGE(status.ok(), status.message());
  return true;
}

void run_suite(DType kv_dtype, uint64_t seed) {
  Context context;
  if (!device_context(context)) return;
  ConformanceRunner runner;
  runner.name = "cuda";
  runner.adapt = adapt_to_cuda;
  runner.weights = reference::Weights::kBFloat16;
  runner.expected_of = [](const Problem& problem) { return rotated_beforehand(problem); };
  runner.run = [&](const Problem& problem, Output& output, LseView lse) {
    return run_on_device(context, problem, output, lse.data != nullptr);
  };
  const int problems = !kEmulated ? conformance_problems() : kSlowBuild ? 10 : 150;
  CHECK(check_conformance(runner, kv_dtype, problems, seed) == problems);
}

ProblemShape mixed_shape() {
  ProblemShape shape;
  shape.spec.num_heads_q = 8;
  shape.spec.num_heads_kv = 2;
  shape.spec.head_dim = kEmulated ? 64 : 128;
  shape.spec.causal = true;
  shape.q_dtype = shape.kv_dtype = shape.out_dtype = DType::kBF16;
  shape.sequences = {{1, 5000}, {300, 900}, {4, 1100}};
  if (kEmulated) shape.sequences = {{1, 1600}, {40, 600}, {4, 520}};
  return shape;
}

}  // namespace

TEST_SUITE("CUDA conformance") {
  TEST_CASE("bf16 K and V") { run_suite(DType::kBF16, 2); }
  TEST_CASE("f16 K and V") { run_suite(DType::kF16, 3); }

  TEST_CASE("repeated, with other pages, and alone: the same bits") {
    Context context;
    if (!device_context(context)) return;
    const Problem problem(mixed_shape());
    Output expected = problem.make_output();
    REQUIRE(run_on_device(context, problem, expected) == "");
    for (int i = 0; i < (kEmulated ? 4 : 20); ++i) {
      ProblemShape shape = mixed_shape();
      shape.page_size = i % 2 == 0 ? 16 : 7 + i;
      shape.page_seed = static_cast<uint64_t>(i);
      const Problem again(shape);
      Output output = again.make_output();
      REQUIRE(run_on_device(context, again, output) == "");
      CHECK(check_same_bits(expected, output) == "");
    }
  }

  TEST_CASE("masks and scores, compiled by the first call") {
    Context context;
    if (!device_context(context)) return;
    const std::vector<float> slopes = {0.5f, 0.25f, 0.125f, 0.0625f, 0.3f, 0.2f, 0.1f, 0.0f};
    std::vector<int32_t> doc(5000);
    for (size_t i = 0; i < doc.size(); ++i) doc[i] = static_cast<int32_t>(i / 700 % 3);
    for (const char* mask : {"", kDeviceMasks[0], kDeviceMasks[1]}) {
      for (const char* score : {"", kDeviceScores[0], kDeviceScores[1]}) {
        CAPTURE(mask);
        CAPTURE(score);
        ProblemShape shape = mixed_shape();
        shape.spec.causal = false;
        expr::Expr expression;
        if (*mask != '\0') {
          REQUIRE(expr::parse(mask, expression).message() == "");
          REQUIRE(expr::compile_mask(expression, shape.spec.mask).message() == "");
        }
        if (*score != '\0') {
          REQUIRE(expr::parse(score, expression).message() == "");
          REQUIRE(expr::compile_score(expression, shape.spec.score).message() == "");
        }
        shape.mask_values = {
            expr::buffer_value("doc", expr::ElementType::kI32, doc.data(), {int64_t{5000}})};
        shape.score_values = {
            expr::buffer_value("slopes", expr::ElementType::kF32, slopes.data(), {int64_t{8}})};
        const Problem problem(shape);
        Output output = problem.make_output();
        REQUIRE(run_on_device(context, problem, output) == "");
        CHECK(check_close(problem, expect(problem), output, reference::Weights::kBFloat16) == "");
      }
    }
  }

  TEST_CASE("captured in a graph and replayed") {
    cudaStream_t stream = nullptr;
    Context context;
    if (!cuda_plugin().capability().available) return skip("no CUDA device");
    REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
    REQUIRE(device_context(context, stream));
    const Problem problem(mixed_shape());
    Output expected = problem.make_output();
    Output output = problem.make_output();
    Plan plan;
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    DeviceMirror first;
    DeviceMirror second;
    const AttendArgs eager = device_args(problem, expected, first);
    const AttendArgs captured = device_args(problem, output, second);
    REQUIRE(attend(context, plan, eager).message() == "");  // uploads the plan
    REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    CHECK(attend(context, plan, captured).message() == "");
    cudaGraph_t graph = nullptr;
    REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
    cudaGraphExec_t executable = nullptr;
    REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
    for (int i = 0; i < 3; ++i) REQUIRE(cudaGraphLaunch(executable, stream) == cudaSuccess);
    first.out(expected.bytes.data());
    second.out(output.bytes.data());
    first.out(expected.lse.data());
    second.out(output.lse.data());
    CHECK(check_same_bits(expected, output) == "");
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
  }
}

}  // namespace attnrt::test
