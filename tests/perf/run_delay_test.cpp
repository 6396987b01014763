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

TEST_CASE("times of all threads are read, in seconds") {
  const fs::path root =
      fs::temp_directory_path() / ("attnrt_run_delay_test_" + std::to_string(getpid()));
  CHECK(read_thread_times(root.string()).empty());
  for (const char* thread : {"100", "101"}) {
    fs::create_directories(root / thread);
    std::ofstream(root / thread / "schedstat") << "9000000000 1500000000 77\n";
  }
  fs::create_directories(root / "102");  // has ended while we looked
  const ThreadTimes times = read_thread_times(root.string());
  fs::remove_all(root);
  REQUIRE(times.size() == 2);
  CHECK(times.at("101").on_cpu == doctest::Approx(9.0));
  CHECK(times.at("101").waiting == doctest::Approx(1.5));
}

TEST_CASE("only threads that worked count") {
  const ThreadTimes before{{"1", {10.0, 2.0}}, {"2", {10.0, 2.0}}};
  const ThreadTimes after{{"1", {11.0, 2.5}}, {"2", {10.001, 9.0}}, {"3", {0.5, 0.25}}};
  CHECK(waited_seconds(before, after, 0.1) == doctest::Approx(0.75));
  CHECK(waited_seconds(before, after, 5.0) == 0.0);
  CHECK(waited_seconds({}, after, 0.1) < 0.0);
  CHECK(waited_seconds(before, {}, 0.1) < 0.0);
}

TEST_CASE("this process has threads, and their waiting time only grows") {
  const ThreadTimes before = read_thread_times();
  REQUIRE(before.count(std::to_string(getpid())) == 1);
  volatile double sum = 0.0;
  for (int i = 0; i < 1'000'000; ++i) sum = sum + 1.0;
  CHECK(waited_seconds(before, read_thread_times(), 0.0) >= 0.0);
}

}  // namespace
}  // namespace attnrt::perf
