// SPDX-License-Identifier: Apache-2.0
// A folder of a test's own, gone with all that is in it when the test ends.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>  // mkdtemp is POSIX

#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace attnrt::test {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    path_ = (std::filesystem::temp_directory_path() / "attnrt_test_XXXXXX").string();
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// What is in a folder. None where there is no such folder.
inline std::vector<std::filesystem::path> entries_of(const std::string& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> all;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    all.push_back(entry.path());
  }
  return all;
}

}  // namespace attnrt::test
