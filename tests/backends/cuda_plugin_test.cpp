// SPDX-License-Identifier: Apache-2.0
// What programs see of the CUDA backend where it, or a device, is not there.
#include "backends/cuda_plugin.hpp"

#include <doctest/doctest.h>

#include <string>

#include "attnrt/attnrt.hpp"
#include "tests/support/problem.hpp"
#include "tests/support/skip.hpp"

namespace attnrt {
namespace {

bool has_device() { return cuda_plugin().capability().available; }

}  // namespace

TEST_SUITE("CUDA backend, not here") {
  TEST_CASE("it is listed by name, with the reason") {
    const Capability cuda = cuda_plugin().capability();
    CHECK(cuda.name == "cuda");
    CHECK_FALSE(cuda.reason.empty());
    bool listed = false;
    for (const Capability& backend : Runtime::backends()) {
      listed = listed || (backend.name == "cuda" && backend.reason == cuda.reason);
    }
    CHECK(listed);
    CHECK(Runtime::to_string().find("backend cuda") != std::string::npos);
  }

  TEST_CASE("a context for it is Unavailable, and says why") {
    if (has_device()) return test::skip("the CUDA backend is here");
    ContextOptions options;
    options.backend = "cuda";
    Context context;
    const Status status = Context::create(options, context);
    CHECK(status.code() == Code::kUnavailable);
    CHECK(status.message() == "backend 'cuda' is not here: " + cuda_plugin().capability().reason);
  }

  TEST_CASE("calls on device memory find no backend; calls on host memory are as ever") {
    if (has_device()) return test::skip("the CUDA backend is here");
    test::ProblemShape shape;
    shape.spec.num_heads_q = shape.spec.num_heads_kv = 1;
    shape.spec.head_dim = 64;
    shape.sequences = {{1, 20}};
    const test::Problem problem(shape);
    test::Output output = problem.make_output();
    Plan plan;
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    Context context;
    AttendArgs args = problem.args(output);
    CHECK(attend(context, plan, args).ok());
    args.q.device = args.kv.device = args.out.device = Device::kCuda;
    const Status status = attend(context, plan, args);
    CHECK(status.code() == Code::kUnavailable);
    CHECK(status.message().starts_with("tensors are on the device: backend 'cuda' is not here"));
  }
}

}  // namespace attnrt
