// SPDX-License-Identifier: Apache-2.0
// The free list.
#include "perf/page_allocator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace attnrt::perf {

PageAllocator::PageAllocator(int32_t num_pages)
    : free_(static_cast<size_t>(num_pages)), in_use_(static_cast<size_t>(num_pages), false) {
  for (int32_t page = 0; page < num_pages; ++page) {
    free_[static_cast<size_t>(page)] = num_pages - 1 - page;
  }
}

int32_t PageAllocator::allocate() {
  if (free_.empty()) return -1;
  const int32_t page = free_.back();
  free_.pop_back();
  in_use_[static_cast<size_t>(page)] = true;
  peak_ = std::max(peak_, used());
  return page;
}

void PageAllocator::release(std::span<const int32_t> pages) {
  for (const int32_t page : pages) {
    if (page < 0 || page >= num_pages() || !in_use_[static_cast<size_t>(page)]) {
      throw std::logic_error(fmt::format("page {} is released but not in use", page));
    }
    in_use_[static_cast<size_t>(page)] = false;
    free_.push_back(page);
  }
}

}  // namespace attnrt::perf
