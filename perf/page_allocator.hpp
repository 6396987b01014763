// SPDX-License-Identifier: Apache-2.0
// Which pages of the replayer's cache are free. Bookkeeping only; one thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace attnrt::perf {

/// Pages needed for so many keys.
constexpr int64_t pages_for(int64_t keys, int64_t page_size) noexcept {
  return (keys + page_size - 1) / page_size;
}

/// A free list that hands out the page freed last, so that a lightly used cache stays small in
/// memory. Page 0 goes first.
class PageAllocator {
 public:
  explicit PageAllocator(int32_t num_pages);

  /// A page nobody holds, or -1 when all are taken.
  int32_t allocate();

  /// Takes pages back. Throws std::logic_error for a page that is not in use: a defect here would
  /// let two sequences write the same memory.
  void release(std::span<const int32_t> pages);

  [[nodiscard]] int32_t num_pages() const noexcept { return static_cast<int32_t>(in_use_.size()); }
  [[nodiscard]] int32_t used() const noexcept {
    return num_pages() - static_cast<int32_t>(free_.size());
  }
  /// The most that were in use at any time.
  [[nodiscard]] int32_t peak() const noexcept { return peak_; }

 private:
  std::vector<int32_t> free_;
  std::vector<bool> in_use_;
  int32_t peak_ = 0;
};

}  // namespace attnrt::perf
