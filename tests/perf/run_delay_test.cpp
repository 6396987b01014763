// SPDX-License-Identifier: Apache-2.0
// Waiting times from files made here, and that this system's never fall.
#include "perf/run_delay.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace attnrt::perf {
namespace {

namespace fs = std::filesystem;

TEST_CASE("the waiting times of all threads are added") {
  const fs::path root =
      fs::temp_directory_path() / ("attnrt_run_delay_test_" + std::to_string(getpid()));
  CHECK(run_delay_seconds(root.string()) < 0.0);
  for (const char* thread : {"100", "101"}) {
    fs::create_directories(root / thread);
    std::ofstream(root / thread / "schedstat") << "9000000000 1500000000 77\n";
  }
  fs::create_directories(root / "102");  // has ended while we looked
  CHECK(run_delay_seconds(root.string()) == doctest::Approx(3.0));
  fs::remove_all(root);
}

TEST_CASE("waiting time of this process only grows") {
  const double before = run_delay_seconds();
  volatile double sum = 0.0;
  for (int i = 0; i < 1'000'000; ++i) sum = sum + 1.0;
  CHECK(run_delay_seconds() >= before);
}

}  // namespace
}  // namespace attnrt::perf
