// SPDX-License-Identifier: Apache-2.0
// Kernels on disk: what was stored comes back, anything else is as if it were not there. Whether
// calls use it: emulated/kernel_cache_test.cpp.
#include "backends/cuda/kernel_cache.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "backends/cuda/nvrtc.hpp"
#include "tests/support/temporary_folder.hpp"

namespace attnrt::cuda {
namespace {

namespace fs = std::filesystem;

const KernelInputs kInputs{"some source", "12.8"};
// As long as a page and more, with every byte in it.
const std::string kImage = [] {
  std::string image;
  for (int i = 0; i < 5000; ++i) image.push_back(static_cast<char>(i));
  return image;
}();

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

// Empty where there is none.
std::string loaded(const KernelCache& cache, const KernelInputs& inputs = kInputs) {
  std::string image = "untouched";
  if (cache.load(inputs, image)) return image;
  CHECK(image == "untouched");
  return {};
}

// A folder with one kernel in it.
struct Filled {
  test::TemporaryFolder folder;
  KernelCache cache{folder.path()};
  fs::path file;
  std::string content;

  explicit Filled(const std::string& image = kImage) {
    cache.store(kInputs, image);
    const auto entries = test::entries_of(folder.path());
    REQUIRE(entries.size() == 1);
    file = entries[0];
    content = read(file);
  }
};

fs::perms permissions(const fs::path& path) { return fs::status(path).permissions(); }

}  // namespace

TEST_SUITE("kernel cache") {
  TEST_CASE("round trip, by another object, of an empty image too") {
    for (const std::string& image : {kImage, std::string()}) {
      const Filled filled(image);
      std::string found = "untouched";
      CHECK(KernelCache(filled.folder.path()).load(kInputs, found));
      CHECK(found == image);
    }
  }

  TEST_CASE("the directory is made with its parents; it and its files are the owner's alone") {
    const test::TemporaryFolder folder;
    for (const char* end : {"/a/b", "/c/d/"}) {
      CAPTURE(end);
      const std::string path = folder.path() + end;
      const KernelCache cache(path);
      CHECK(loaded(cache).empty());
      CHECK_FALSE(fs::exists(path));
      cache.store(kInputs, kImage);
      CHECK(loaded(cache) == kImage);
      CHECK(permissions(path) == fs::perms::owner_all);
      REQUIRE(test::entries_of(path).size() == 1);
      CHECK(permissions(test::entries_of(path)[0]) ==
            (fs::perms::owner_read | fs::perms::owner_write));
    }
  }

  TEST_CASE("other inputs have files of their own; another compiler's file is not believed") {
    const Filled filled;
    const KernelInputs other{"some Source", "12.8"};
    CHECK(loaded(filled.cache, other).empty());
    filled.cache.store(other, "other");
    CHECK(loaded(filled.cache, other) == "other");
    CHECK(loaded(filled.cache) == kImage);

    const KernelInputs newer{kInputs.text, "13.0"};
    CHECK(loaded(filled.cache, newer).empty());
    CHECK(loaded(filled.cache, {kInputs.text, ""}) == kImage);  // no compiler here
    filled.cache.store(newer, "newer");
    CHECK(loaded(filled.cache, newer) == "newer");
    CHECK(loaded(filled.cache).empty());
    CHECK(test::entries_of(filled.folder.path()).size() == 2);
  }

  TEST_CASE("a file under another text's name is not believed, whole as it is") {
    const Filled filled;
    const test::TemporaryFolder folder;
    const KernelCache elsewhere(folder.path());
    elsewhere.store({"same length", "12.8"}, "wrong");
    fs::copy_file(test::entries_of(folder.path())[0], filled.file,
                  fs::copy_options::overwrite_existing);
    CHECK(loaded(filled.cache).empty());
    CHECK(loaded(filled.cache, {kInputs.text, ""}).empty());
  }

  TEST_CASE("truncated anywhere, longer, or with any byte flipped: not believed, and replaced") {
    const Filled filled("a small image");
    for (const std::string compiler : {"12.8", ""}) {
      const KernelInputs asked{kInputs.text, compiler};
      REQUIRE(loaded(filled.cache, asked) == "a small image");
      int believed = 0;
      for (size_t i = 0; i < filled.content.size(); ++i) {
        write(filled.file, filled.content.substr(0, i));
        believed += loaded(filled.cache, asked).empty() ? 0 : 1;
        std::string flipped = filled.content;
        flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
        write(filled.file, flipped);
        believed += loaded(filled.cache, asked).empty() ? 0 : 1;
      }
      write(filled.file, filled.content + "x");
      believed += loaded(filled.cache, asked).empty() ? 0 : 1;
      CHECK(believed == 0);
      filled.cache.store(kInputs, "a small image");
      CHECK(read(filled.file) == filled.content);
    }
  }

  TEST_CASE("lengths that are the file's only as they overflow are not believed") {
    const Filled filled("a small image");
    uint64_t lengths[3];  // of the compiler's version, of the text, of the image
    std::memcpy(lengths, filled.content.data() + 16, sizeof lengths);
    REQUIRE(lengths[2] == 13);
    for (const uint64_t more : {uint64_t{1} << 63, uint64_t{1000}, uint64_t{25}}) {
      CAPTURE(more);
      const uint64_t wrong[] = {lengths[0] + more, lengths[1], lengths[2] - more};
      std::string content = filled.content;
      std::memcpy(content.data() + 16, wrong, sizeof wrong);
      write(filled.file, content);
      CHECK(loaded(filled.cache).empty());
      CHECK(loaded(filled.cache, {kInputs.text, ""}).empty());
    }
  }

  TEST_CASE("where nothing can be written there is no cache, and nothing is left behind") {
    const test::TemporaryFolder folder;
    const std::string file = folder.path() + "/file";
    write(file, "mine");
    for (const std::string& path : {file, file + "/folder", std::string("/proc/attnrt")}) {
      const KernelCache cache(path);
      cache.store(kInputs, kImage);
      CHECK(loaded(cache).empty());
    }
    CHECK(read(file) == "mine");
    // A folder where the file should be: what was written beside it goes away again.
    const Filled filled;
    fs::remove(filled.file);
    fs::create_directory(filled.file);
    filled.cache.store(kInputs, kImage);
    CHECK(loaded(filled.cache).empty());
    CHECK(test::entries_of(filled.folder.path()).size() == 1);
  }

  TEST_CASE("threads that store the same at once: readers see one of the images, one file stays") {
    const Filled filled(std::string(50000, 'a'));
    std::atomic<int> wrong{0};
    const auto run = [&](char letter) {
      const std::string image(50000, letter);
      for (int i = 0; i < 100; ++i) {
        filled.cache.store(kInputs, image);
        std::string found;
        const bool there = filled.cache.load(kInputs, found);
        const bool good = there && found.size() == image.size() &&
                          found.find_first_not_of(found[0]) == std::string::npos;
        wrong += good ? 0 : 1;
      }
    };
    std::thread first([&] { run('a'); });
    std::thread second([&] { run('b'); });
    first.join();
    second.join();
    CHECK(wrong == 0);
    CHECK(test::entries_of(filled.folder.path()).size() == 1);
  }

  TEST_CASE("without ATTNRT_KERNEL_CACHE there is none") {
    const char* asked = std::getenv("ATTNRT_KERNEL_CACHE");
    const std::string before = asked != nullptr ? asked : "";
    unsetenv("ATTNRT_KERNEL_CACHE");
    CHECK_FALSE(KernelCache::from_environment().enabled());
    setenv("ATTNRT_KERNEL_CACHE", "", 1);
    CHECK_FALSE(KernelCache::from_environment().enabled());
    std::string image;
    KernelCache::from_environment().store(kInputs, kImage);
    CHECK_FALSE(KernelCache::from_environment().load(kInputs, image));
    setenv("ATTNRT_KERNEL_CACHE", "/some/where", 1);
    CHECK(KernelCache::from_environment().enabled());
    setenv("ATTNRT_KERNEL_CACHE", before.c_str(), 1);
  }

  TEST_CASE("inputs differ by source and architecture, and hold options and headers") {
    const std::string inputs = Nvrtc::inputs("source", 80);
    CHECK(inputs == Nvrtc::inputs("source", 80));
    CHECK(inputs != Nvrtc::inputs("source", 90));
    CHECK(inputs != Nvrtc::inputs("Source", 80));
    for (const char* part : {"attnrt 0.", "=sm_80\n", "--fmad=false\n", "struct AttendParams"}) {
      CAPTURE(part);
      CHECK(inputs.find(part) != std::string::npos);
    }
  }
}

}  // namespace attnrt::cuda
