// SPDX-License-Identifier: Apache-2.0
// Draws the progress line with carriage returns.
#include "perf/progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace attnrt::perf {

void Progress::update(int64_t done, std::string_view text) {
  if (!enabled_) return;
  const auto now = std::chrono::steady_clock::now();
  if (drawn_ && now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  drawn_ = true;
  constexpr int64_t kWidth = 30;
  const int64_t total = std::max<int64_t>(total_, 1);
  const int64_t shown = std::clamp<int64_t>(done, 0, total);
  const auto filled = static_cast<size_t>(shown * kWidth / total);
  // "\033[K" clears what a longer text before has left.
  out_ << fmt::format("\r[{}{}] {:3d}%  {}\033[K", std::string(filled, '#'),
                      std::string(static_cast<size_t>(kWidth) - filled, '.'), shown * 100 / total,
                      text)
       << std::flush;
}

void Progress::finish() {
  if (!drawn_) return;
  out_ << "\r\033[K" << std::flush;
  drawn_ = false;
}

}  // namespace attnrt::perf
