// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "attnrt/attention.hpp"

namespace attnrt {
namespace {

TEST_CASE("a default context is ready and says what it uses") {
  Context context;
  CHECK(context.backend() == "cpu");
  CHECK_FALSE(context.isa().empty());
  CHECK(context.num_threads() >= 1);
}

TEST_CASE("unknown names and impossible numbers are refused, and the context stays as it was") {
  struct Row {
    ContextOptions options;
    Code code;
    std::string message;
  };
  ContextOptions backend;
  backend.backend = "gpu";
  ContextOptions isa;
  isa.isa = "mmx";
  ContextOptions threads;
  threads.num_threads = -2;
  ContextOptions many;
  many.num_threads = 2'000'000'000;
  ContextOptions one_more;
  one_more.num_threads = kMaxThreads + 1;
  const Row rows[] = {
      {backend, Code::kInvalidArgument, "backend is 'gpu', this build has cpu, cuda, reference"},
      {isa, Code::kInvalidArgument, "mmx"},
      {threads, Code::kInvalidArgument, "num_threads is -2, it must be 0 or more"},
      {many, Code::kInvalidArgument, "num_threads is 2000000000, it must be at most 4096"},
      {one_more, Code::kInvalidArgument, "num_threads is 4097, it must be at most 4096"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.message);
    Context context;
    const Status status = Context::create(row.options, context);
    CHECK(status.code() == row.code);
    CHECK(status.message().find(row.message) != std::string::npos);
    CHECK(context.backend() == "cpu");
  }
}

TEST_CASE("a context has the threads that it was asked for, more than cores too") {
  for (const int32_t threads : {1, 2, 8, kMaxThreads}) {
    ContextOptions options;
    options.num_threads = threads;
    Context context;
    REQUIRE(Context::create(options, context).ok());
    CHECK(context.num_threads() == threads);
  }
}

TEST_CASE("a moved-from context answers with a status") {
  Context context;
  const Context taken = std::move(context);
  CHECK(taken.backend() == "cpu");
  Plan plan;
  CHECK(context.reserve(plan).code() == Code::kInvalidArgument);  // NOLINT(bugprone-use-after-move)
  CHECK(context.num_threads() == 0);                              // NOLINT(bugprone-use-after-move)
}

TEST_CASE("reserve needs a plan, and workspace grows with the threads") {
  Context context;
  CHECK(context.reserve(Plan()).code() == Code::kInvalidArgument);

  AttentionSpec spec;
  spec.num_heads_q = 8;
  spec.num_heads_kv = 2;
  spec.head_dim = 64;
  const std::vector<int32_t> cu_q{0, 1};
  const std::vector<int32_t> cu_k{0, 5000};
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_q;
  batch.cu_seqlens_k = cu_k;
  Plan plan;
  REQUIRE(make_plan(spec, batch, plan).ok());
  CHECK(context.reserve(plan).ok());
  const Status of_call = context.reserve(plan, AttendArgs());  // checked as attend checks
  CHECK(of_call.code() == Code::kInvalidArgument);
  CHECK(of_call.message() == attend(context, plan, {}).message());

  size_t bytes_before = 0;
  for (const int32_t threads : {1, 4}) {
    ContextOptions options;
    options.num_threads = threads;
    REQUIRE(Context::create(options, context).ok());
    CHECK(context.workspace_bytes(plan) > bytes_before);
    if (threads > 1)
      CHECK(context.workspace_bytes(plan) >= static_cast<size_t>(plan.partial_bytes()));
    bytes_before = context.workspace_bytes(plan);
  }
}

}  // namespace
}  // namespace attnrt
