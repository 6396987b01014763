// SPDX-License-Identifier: Apache-2.0
// One line on a terminal that says how far a command is.
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string_view>

namespace attnrt::perf {

/// Draws at most ten times a second; draws nothing when disabled. The line is gone after finish(),
/// which the destructor calls too.
class Progress {
 public:
  Progress(std::ostream& out, bool enabled, int64_t total) noexcept
      : out_(out), enabled_(enabled), total_(total) {}
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(int64_t done, std::string_view text);
  void finish();

 private:
  std::ostream& out_;
  bool enabled_;
  int64_t total_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace attnrt::perf
