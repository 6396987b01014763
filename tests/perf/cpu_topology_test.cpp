// SPDX-License-Identifier: Apache-2.0
// Threads are spread over cores before they share one, on machines made here.
#include "perf/cpu_topology.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace attnrt::perf {
namespace {

namespace fs = std::filesystem;
using Cpus = std::vector<int>;

struct Machine {
  Machine() { fs::create_directories(root); }
  ~Machine() { fs::remove_all(root); }
  void core(const std::string& siblings, const Cpus& cpus) const {
    for (const int cpu : cpus) {
      const fs::path folder = root / ("cpu" + std::to_string(cpu)) / "topology";
      fs::create_directories(folder);
      std::ofstream(folder / "thread_siblings_list") << siblings << '\n';
    }
  }
  fs::path root =
      fs::temp_directory_path() / ("attnrt_cpu_topology_test_" + std::to_string(getpid()));
};

TEST_CASE("cores first and far apart, then their second hardware threads") {
  const Machine machine;
  for (int core = 0; core < 4; ++core) {
    machine.core(std::to_string(core) + "," + std::to_string(core + 4), {core, core + 4});
  }
  const std::string root = machine.root.string();
  const Cpus cpus{0, 1, 2, 3, 4, 5, 6, 7};
  CHECK(spread_threads(cpus, 1, root) == Cpus{0});
  CHECK(spread_threads(cpus, 2, root) == Cpus{0, 2});
  CHECK(spread_threads(cpus, 4, root) == Cpus{0, 1, 2, 3});
  CHECK(spread_threads(cpus, 6, root) == Cpus{0, 1, 2, 3, 4, 6});
  CHECK(spread_threads(cpus, 9, root) == Cpus{0, 1, 2, 3, 4, 5, 6, 7, 0});
}

TEST_CASE("siblings side by side, and only the CPUs that we may use") {
  const Machine machine;
  machine.core("0-1", {0, 1});
  machine.core("2-3", {2, 3});
  const std::string root = machine.root.string();
  CHECK(spread_threads(Cpus{0, 1, 2, 3}, 2, root) == Cpus{0, 2});
  CHECK(spread_threads(Cpus{1, 2, 3}, 3, root) == Cpus{1, 2, 3});
  CHECK(spread_threads(Cpus{3}, 2, root) == Cpus{3, 3});
}

TEST_CASE("without a topology every CPU is a core") {
  CHECK(spread_threads(Cpus{4, 5, 6, 7}, 2, "/nonexistent") == Cpus{4, 6});
  CHECK(spread_threads(Cpus{}, 2, "/nonexistent").empty());
  CHECK(spread_threads(Cpus{1}, 0, "/nonexistent").empty());
}

TEST_CASE("this thread may run somewhere, and stays where it is pinned") {
  const Cpus cpus = allowed_cpus();
  REQUIRE_FALSE(cpus.empty());
  CHECK(std::is_sorted(cpus.begin(), cpus.end()));
  Cpus inside;
  bool pinned = false;
  std::thread([&] {
    pinned = pin_to_cpu(cpus.back());
    inside = allowed_cpus();
  }).join();
  REQUIRE(pinned);
  CHECK(inside == Cpus{cpus.back()});
  CHECK(allowed_cpus() == cpus);
}

}  // namespace
}  // namespace attnrt::perf
