// SPDX-License-Identifier: Apache-2.0
// Cache and memory sizes from files made here, and that this machine has some.
#include "perf/cache_info.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace attnrt::perf {
namespace {

namespace fs = std::filesystem;

struct Scratch {
  Scratch() { fs::create_directories(root); }
  ~Scratch() { fs::remove_all(root); }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((root / name).parent_path());
    std::ofstream(root / name) << text << '\n';
  }
  void cache(const std::string& index, const char* level, const char* cpus, const char* size) {
    write(index + "/level", level);
    write(index + "/shared_cpu_list", cpus);
    write(index + "/size", size);
  }
  fs::path root =
      fs::temp_directory_path() / ("attnrt_cache_info_test_" + std::to_string(getpid()));
};

TEST_CASE("the caches of the highest level count once each") {
  Scratch scratch;
  scratch.cache("cpu0/cache/index0", "1", "0", "48K");
  scratch.cache("cpu0/cache/index3", "3", "0-1", "32768K");
  scratch.cache("cpu1/cache/index3", "3", "0-1", "32768K");
  scratch.cache("cpu1/cache/index2", "2", "1", "1024K");
  scratch.cache("cpu2/cache/index3", "3", "2-3", "16M");
  scratch.write("cpufreq/cache_is_no_cpu", "1");
  CHECK(last_level_cache_bytes(scratch.root.string()) == (int64_t{48} << 20));
}

TEST_CASE("a machine that lists no caches has none that we know of") {
  Scratch scratch;
  CHECK(last_level_cache_bytes(scratch.root.string()) == 0);
  CHECK(last_level_cache_bytes((scratch.root / "missing").string()) == 0);
}

TEST_CASE("a cgroup leaves less than the machine has") {
  Scratch scratch;
  const std::string root = scratch.root.string();
  const int64_t machine = memory_room_bytes(root);  // no cgroup there
  REQUIRE(machine > (int64_t{1} << 20));
  scratch.write("memory.current", "3000");
  scratch.write("memory.max", "max");
  CHECK(memory_room_bytes(root) > (int64_t{1} << 20));
  scratch.write("memory.max", "10000");
  CHECK(memory_room_bytes(root) == 7000);
  scratch.write("memory.current", "11000");
  CHECK(memory_room_bytes(root) == 0);
}

}  // namespace
}  // namespace attnrt::perf
