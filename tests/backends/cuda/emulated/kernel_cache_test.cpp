// SPDX-License-Identifier: Apache-2.0
// Kernels that one process compiled are read from disk by the next, with and without a compiler.
// Machine code of the emulated device is the kernel's source.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/backends/cuda/cuda_shapes.hpp"
#include "tests/backends/cuda/device/device_mirror.hpp"
#include "tests/support/check.hpp"
#include "tests/support/cuda/emulated_device.hpp"
#include "tests/support/temporary_folder.hpp"

namespace attnrt::test {
namespace {

constexpr const char* kWanted = "ATTNRT_TEST_WANTED_COMPILES";

// This program again, running the case below that is skipped otherwise. True where it was right,
// having compiled as many kernels as wanted; "refused": where there was no way to have them.
bool child_compiles(const std::string& wanted, const std::string& cache, bool compiler = true) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const char* const command[] = {self.c_str(), "--test-case=child: a call with expressions",
                                 "--no-skip=true", "--out=/dev/null", nullptr};
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);
    setenv(kWanted, wanted.c_str(), 1);
    setenv("ATTNRT_KERNEL_CACHE", cache.c_str(), 1);
    if (!compiler) setenv("ATTNRT_NVRTC_LIBRARY", "/nonexistent", 1);
    execv(command[0], const_cast<char* const*>(command));
    _exit(1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_SUITE("kernel cache on the emulated device") {
  TEST_CASE("child: a call with expressions" * doctest::skip()) {
    REQUIRE(std::getenv(kWanted) != nullptr);
    const std::string wanted = std::getenv(kWanted);
    ProblemShape shape = causal_shape(DType::kBF16, 64, {{1, 300}, {20, 40}});
    expr::Expr mask;
    expr::Expr score;
    REQUIRE(expr::parse(kDeviceMasks[1], mask).ok());
    REQUIRE(expr::parse(kDeviceScores[1], score).ok());
    REQUIRE(expr::compile_mask(mask, shape.spec.mask).ok());
    REQUIRE(expr::compile_score(score, shape.spec.score).ok());
    shape.spec.causal = false;
    const Problem problem(shape);
    ContextOptions options;
    options.backend = "cuda";
    Context context;
    REQUIRE(Context::create(options, context).message() == "");
    Output output = problem.make_output();
    const std::string finding = run_on_device(context, problem, output);
    if (wanted == "refused") {
      CHECK(finding.find("libnvrtc, which is not here") != std::string::npos);
      return;
    }
    REQUIRE(finding == "");
    CHECK(check_close(problem, expect(problem), output, reference::Weights::kBFloat16) == "");
    CHECK(std::to_string(device_counts().compiles) == wanted);
  }

  TEST_CASE("a second process compiles nothing, and needs no compiler") {
    const TemporaryFolder folder;
    const std::string cache = folder.path() + "/kernels";
    CHECK(child_compiles("refused", cache, false));
    CHECK(entries_of(cache).empty());
    CHECK(child_compiles("2", cache));  // for many rows, for few
    CHECK(entries_of(cache).size() == 2);
    CHECK(child_compiles("0", cache));
    CHECK(child_compiles("0", cache, false));
    CHECK_FALSE(child_compiles("2", cache));  // the child can fail
  }

  TEST_CASE("a file that was cut is compiled again and replaced") {
    const TemporaryFolder folder;
    REQUIRE(child_compiles("2", folder.path()));
    const std::filesystem::path file = entries_of(folder.path()).at(0);
    std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
    CHECK(child_compiles("1", folder.path()));
    CHECK(child_compiles("0", folder.path()));
    CHECK(entries_of(folder.path()).size() == 2);
  }

  TEST_CASE("no directory, or one that cannot be: every process compiles") {
    for (int i = 0; i < 2; ++i) {
      CHECK(child_compiles("2", ""));
      CHECK(child_compiles("2", "/proc/attnrt"));
    }
  }
}

}  // namespace attnrt::test
