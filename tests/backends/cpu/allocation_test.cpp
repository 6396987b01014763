// SPDX-License-Identifier: Apache-2.0
// attend allocates nothing. Counts every malloc of the process by standing in front of it.
#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <string>

#include "attnrt/runtime.hpp"
#include "tests/support/build.hpp"
#include "tests/support/check.hpp"

// Sanitizers bring their own malloc.
#if defined(ATTNRT_TEST_ASAN) || defined(ATTNRT_TEST_TSAN) || !defined(__GLIBC__)
#define ATTNRT_TEST_NO_MALLOC_HOOK 1
#endif

#if !defined(ATTNRT_TEST_NO_MALLOC_HOOK)

namespace {

std::atomic<long> allocations{0};

// Allocations of this thread that succeed before all others fail; -1: none fails.
thread_local long allowed = -1;

bool is_refused() {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (allowed < 0) return false;
  if (allowed == 0) return true;
  --allowed;
  return false;
}

}  // namespace

// operator new and the containers of all libraries end here, in every thread. The default
// visibility is what makes the dynamic linker prefer these.
extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

#define ATTNRT_TEST_EXPORT __attribute__((visibility("default"), noinline))
ATTNRT_TEST_EXPORT void* malloc(size_t bytes) {
  return is_refused() ? nullptr : __libc_malloc(bytes);
}
ATTNRT_TEST_EXPORT void* calloc(size_t count, size_t bytes) {
  return is_refused() ? nullptr : __libc_calloc(count, bytes);
}
ATTNRT_TEST_EXPORT void* realloc(void* memory, size_t bytes) {
  return is_refused() ? nullptr : __libc_realloc(memory, bytes);
}
ATTNRT_TEST_EXPORT void* aligned_alloc(size_t alignment, size_t bytes) {
  return is_refused() ? nullptr : __libc_memalign(alignment, bytes);
}
ATTNRT_TEST_EXPORT int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  *memory = is_refused() ? nullptr : __libc_memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}
ATTNRT_TEST_EXPORT void* memalign(size_t alignment, size_t bytes) {
  return is_refused() ? nullptr : __libc_memalign(alignment, bytes);
}
}

#endif

namespace attnrt {
namespace {

using test::Output;
using test::Problem;
using test::ProblemShape;

ProblemShape mixed_shape() {
  ProblemShape shape;
  shape.spec.num_heads_q = 8;
  shape.spec.num_heads_kv = 2;
  shape.spec.head_dim = 64;
  shape.spec.causal = true;
  shape.spec.has_sinks = true;
  shape.kv_dtype = DType::kBF16;
  shape.sequences = {{1, 3000}, {70, 300}, {1, 17}, {4, 1200}};
  return shape;
}

#if !defined(ATTNRT_TEST_NO_MALLOC_HOOK)

long allocations_of(Context& context, const Plan& plan, const AttendArgs& args) {
  const long before = allocations.load();
  const Status status = attend(context, plan, args);
  const long after = allocations.load();
  REQUIRE(status.ok());
  return after - before;
}

#endif

}  // namespace

TEST_SUITE("allocation") {
#if defined(ATTNRT_TEST_NO_MALLOC_HOOK)

  TEST_CASE("a reserved context computes; its allocations are not counted in this build") {
    MESSAGE("skipped: counting, because sanitizers bring their own malloc (or this is no glibc)");
    const Problem problem(mixed_shape());
    Plan plan;
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    Context context = test::cpu_context();
    REQUIRE(context.reserve(plan).ok());
    CHECK(test::check_against_reference(context, problem) == "");
  }

#else

  TEST_CASE("the counter sees allocations") {
    const long before = allocations.load();
    const std::string text(1000, 'x');
    CHECK(text.size() == 1000);
    CHECK(allocations.load() > before);
  }

  TEST_CASE("facts about the process are empty where there is no memory for them") {
    const std::string text = Runtime::to_string();  // what is made once is there
    const auto isas = Runtime::isas();
    REQUIRE_FALSE(isas.empty());
    const Problem problem(mixed_shape());
    Plan plan;
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    const std::string why = Runtime::explain(plan);
    // Out of memory at the first allocation, at the second, .. until there is enough.
    const auto until_enough = [](const auto& call, const auto& want) {
      for (long n = 0; n < 10'000; ++n) {
        allowed = n;
        const auto got = call();
        allowed = -1;
        if (got.size() == want.size()) return n;
        CHECK(got.size() < want.size());
      }
      return -1L;
    };
    CHECK(until_enough(Runtime::backends, Runtime::backends()) > 0);
    CHECK(until_enough(Runtime::isas, isas) > 0);
    CHECK(until_enough(Runtime::to_string, text) > 0);
    CHECK(until_enough([&] { return Runtime::explain(plan); }, why) > 0);
  }

  TEST_CASE("attend allocates nothing, not even the first time after reserve, on one thread") {
    const Problem problem(mixed_shape());
    Plan plan;
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    Output output = problem.make_output();
    const AttendArgs args = problem.args(output);
    for (const std::string& isa : test::usable_isas()) {
      CAPTURE(isa);
      if (isa == "onednn") continue;  // allocates a list of its arguments at every product
      Context context = test::cpu_context(isa, 1);
      REQUIRE(context.reserve(plan).ok());
      for (int i = 0; i < 5; ++i) CHECK(allocations_of(context, plan, args) == 0);
    }
  }

  TEST_CASE("attend allocates nothing on several threads once they are warm") {
    const Problem problem(mixed_shape());
    Plan plan;
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    Output output = problem.make_output();
    const AttendArgs args = problem.args(output);
    for (const int32_t threads : {2, 4}) {
      CAPTURE(threads);
      Context context = test::cpu_context({}, threads);
      REQUIRE(context.reserve(plan).ok());
      // Threads of oneTBB arrive when they like, and bring their own caches of tasks.
      for (int i = 0; i < 200; ++i) allocations_of(context, plan, args);
      long total = 0;
      for (int i = 0; i < 200; ++i) total += allocations_of(context, plan, args);
      CHECK(total == 0);
    }
  }

#endif
}

}  // namespace attnrt
