// SPDX-License-Identifier: Apache-2.0
// Threads, processes, arenas, workspace and cancellation. Tests carry the number of the fault that
// they stand for.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <tbb/task_arena.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/build.hpp"
#include "tests/support/check.hpp"
#include "tests/support/parallel_region.hpp"

namespace attnrt {
namespace {

using test::Output;
using test::Problem;
using test::ProblemShape;

// Long enough to be cut into items and merged, small enough to run a thousand times.
ProblemShape some_shape() {
  ProblemShape shape;
  shape.spec.num_heads_q = 4;
  shape.spec.num_heads_kv = 2;
  shape.spec.head_dim = 32;
  shape.spec.causal = true;
  shape.kv_dtype = DType::kBF16;
  shape.sequences = {{1, 1100}, {9, 40}, {1, 520}};
  return shape;
}

struct Planned {
  Problem problem{some_shape()};
  Plan plan;
  Output want;

  Planned() {
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    want = problem.make_output();
    Context context = test::cpu_context();
    REQUIRE(attend(context, plan, problem.args(want)).ok());
    REQUIRE(test::check_close(problem, test::expect(problem), want,
                              test::weights_of(context, problem)) == "");
  }

  // Doctest's checks are not for threads of TBB and forked children: the caller checks the result.
  [[nodiscard]] bool same_again(Context& context) const {
    Output output = problem.make_output();
    return attend(context, plan, problem.args(output)).ok() &&
           test::check_same_bits(output, want).empty();
  }
};

// Runs `body` in a forked child, which exits with 0 if it returns true. A child that hangs is
// killed after 30 seconds and counts as failed.
template <class Body>
int exit_code_of_child(const Body& body) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(30);
    _exit(body() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// This program again with ATTNRT_ISA set, running the case below that is skipped otherwise.
int exit_code_with_isa(const std::string& isa, const std::string& want) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  std::vector<const char*> command;
#if defined(ATTNRT_TEST_EMULATOR)
  command = {ATTNRT_TEST_EMULATOR};
#endif
  command.insert(command.end(), {self.c_str(), "--test-case=child: the default context",
                                 "--no-skip=true", "--out=/dev/null", nullptr});
  return exit_code_of_child([&] {
    setenv("ATTNRT_ISA", isa.c_str(), 1);
    setenv("ATTNRT_TEST_WANTED_ISA", want.c_str(), 1);
    execvp(command[0], const_cast<char* const*>(command.data()));
    return false;
  });
}

}  // namespace

TEST_SUITE("faults") {
  TEST_CASE("F38: two threads run one plan, each with its own context") {
    const Planned planned;
    std::atomic<int> good{0};
    constexpr int kRounds = 50;
    const auto work = [&](int32_t num_threads) {
      ContextOptions options;
      options.num_threads = num_threads;
      Context context;
      if (!Context::create(options, context).ok()) return;
      for (int i = 0; i < kRounds; ++i) good += planned.same_again(context) ? 1 : 0;
    };
    std::thread first(work, 2);
    std::thread second(work, 0);
    first.join();
    second.join();
    CHECK(good == 2 * kRounds);
  }

  TEST_CASE("F40: attend in a forked child after first use in the parent") {
#if defined(ATTNRT_TEST_TSAN)
    MESSAGE("skipped: ThreadSanitizer does not support threads after a multi-threaded fork");
#else
    const Planned planned;
    for (const int32_t threads : {1, 2, 0}) {
      CAPTURE(threads);
      Context used = test::cpu_context({}, threads);
      CHECK(planned.same_again(used));
      // The child has none of the parent's workers; its only thread does all of the work.
      CHECK(exit_code_of_child([&] { return planned.same_again(used); }) == 0);
      CHECK(exit_code_of_child([&] {
              ContextOptions options;
              options.num_threads = threads;
              Context fresh;
              return Context::create(options, fresh).ok() && planned.same_again(fresh);
            }) == 0);
      CHECK(planned.same_again(used));  // the parent goes on
    }
#endif
  }

  TEST_CASE("F41: from 1,000 short-lived threads") {
    const Planned planned;
    std::atomic<int> good{0};
    constexpr int kThreads = 1000;
    for (int i = 0; i < kThreads; i += 4) {
      std::vector<std::thread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
          Context context;
          good += planned.same_again(context) ? 1 : 0;
        });
      }
      for (std::thread& thread : threads) thread.join();
    }
    CHECK(good == kThreads);
  }

  TEST_CASE("F41: inside a parallel region of oneTBB") {
    const Planned planned;
    std::atomic<int> good{0};
    constexpr int kCalls = 200;
    test::in_parallel_region(kCalls, [&] {
      Context context;
      good += planned.same_again(context) ? 1 : 0;
    });
    const int done = good;  // before anything is written where the threads read: see parallel.hpp
    CHECK(done == kCalls);
  }

  TEST_CASE("F42: one thread, more threads than cores, another arena between plan and run") {
    const Planned planned;
    for (const int32_t threads : {1, 64}) {
      CAPTURE(threads);
      Context context = test::cpu_context({}, threads);
      for (int i = 0; i < 10; ++i) CHECK(planned.same_again(context));
    }
    Context context = test::cpu_context();
    REQUIRE(context.reserve(planned.plan).ok());
    for (const int size : {5, 1, 3}) {
      tbb::task_arena arena(size);
      bool same = false;
      arena.execute([&] { same = planned.same_again(context); });
      CHECK(same);
    }
  }

  TEST_CASE("child: the default context" * doctest::skip()) {
    REQUIRE(std::getenv("ATTNRT_TEST_WANTED_ISA") != nullptr);
    const std::string wanted = std::getenv("ATTNRT_TEST_WANTED_ISA");
    Context context;
    Output output;
    if (wanted == "error") {
      const Problem problem(some_shape());
      output = problem.make_output();
      const std::string status = test::run(context, problem, output);
      CHECK(status.find("ATTNRT_ISA") != std::string::npos);
      CHECK(status.find(std::getenv("ATTNRT_ISA")) != std::string::npos);
      return;
    }
    CHECK(context.isa() == wanted);
    CHECK(test::check_against_reference(context, Problem(some_shape())) == "");
  }

  TEST_CASE("F43: ATTNRT_ISA forces each ISA; unknown and unsupported names are errors") {
    CHECK(exit_code_with_isa("sse9", "error") == 0);
    for (const Capability& isa : Runtime::isas()) {
      CAPTURE(isa.name);
      CHECK(exit_code_with_isa(isa.name, isa.available ? isa.name : "error") == 0);
    }
    // The child can fail: another table than the one that was asked for is noticed.
    CHECK(exit_code_with_isa("baseline", "avx2") != 0);
  }

  TEST_CASE("F46: a workspace that is too small, misaligned, or just right") {
    const Planned planned;
    Context plain = test::cpu_context({}, 2);
    const size_t needed = plain.workspace_bytes(planned.plan);
    REQUIRE(needed > 0);
    std::vector<std::byte> memory(needed + 128, std::byte{0x5a});
    const auto address = reinterpret_cast<uintptr_t>(memory.data());
    std::byte* aligned = memory.data() + (64 - address % 64) % 64;
    const auto context_with = [&](std::byte* begin, size_t bytes) {
      ContextOptions options;
      options.num_threads = 2;
      options.workspace = {begin, bytes};
      Context context;
      REQUIRE(Context::create(options, context).ok());
      return context;
    };
    Context exact = context_with(aligned, needed);
    CHECK(planned.same_again(exact));
    CHECK(aligned[needed] == std::byte{0x5a});
    Context shifted = context_with(aligned + 1, needed + 63);
    CHECK(planned.same_again(shifted));

    for (const auto& [begin, bytes] : {std::pair(aligned, needed - 1),
                                       std::pair(aligned + 1, needed), std::pair(aligned, 1ul)}) {
      Context small = context_with(begin, bytes);
      Output output = planned.problem.make_output();
      const Status status = attend(small, planned.plan, planned.problem.args(output));
      CHECK(status.code() == Code::kOutOfMemory);
      CHECK(status.message().find(std::to_string(needed)) != std::string::npos);
      const Output untouched = planned.problem.make_output();
      CHECK(output.bytes == untouched.bytes);
      CHECK(output.lse == untouched.lse);
    }
  }

  TEST_CASE("a stop token cancels, and the context is usable afterwards") {
    const Planned planned;
    for (const char* backend : {"cpu", "reference"}) {
      CAPTURE(backend);
      ContextOptions options;
      options.backend = backend;
      Context context;
      REQUIRE(Context::create(options, context).ok());
      std::stop_source source;
      Output output = planned.problem.make_output();
      AttendArgs args = planned.problem.args(output);
      args.stop = source.get_token();
      CHECK(attend(context, planned.plan, args).ok());
      source.request_stop();
      CHECK(attend(context, planned.plan, args).code() == Code::kCancelled);
      args.stop = {};
      CHECK(attend(context, planned.plan, args).ok());
      CHECK(test::check_close(planned.problem, test::expect(planned.problem), output,
                              test::weights_of(context, planned.problem)) == "");
    }
    Context context = test::cpu_context();
    CHECK(planned.same_again(context));
  }

  TEST_CASE("a stop that comes while a call runs either finishes it or reports it") {
    const Planned planned;
    Context context = test::cpu_context({}, 2);
    for (int i = 0; i < 100; ++i) {
      std::stop_source source;
      Output output = planned.problem.make_output();
      AttendArgs args = planned.problem.args(output);
      args.stop = source.get_token();
      std::thread stopper([&] {
        for (int spin = 0; spin < i * 20; ++spin)
          std::atomic_signal_fence(std::memory_order_seq_cst);
        source.request_stop();
      });
      const Status status = attend(context, planned.plan, args);
      stopper.join();
      if (status.ok()) {
        CHECK(test::check_same_bits(output, planned.want) == "");
      } else {
        CHECK(status.code() == Code::kCancelled);
      }
    }
    CHECK(planned.same_again(context));
  }
}

}  // namespace attnrt
