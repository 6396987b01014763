// SPDX-License-Identifier: Apache-2.0
#include "tests/support/simt_memory.hpp"

#include <algorithm>

namespace attnrt::test {

void SimtMemory::add(const void* data, size_t bytes, bool writable) {
  if (data == nullptr || bytes == 0) return;
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const Range range{begin, begin + bytes, writable};
  const auto after = [](const Range& a, const Range& b) { return a.begin < b.begin; };
  ranges_.insert(std::upper_bound(ranges_.begin(), ranges_.end(), range, after), range);
}

bool SimtMemory::allows(const void* data, size_t bytes, bool write) const {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  auto next = std::upper_bound(ranges_.begin(), ranges_.end(), begin,
                               [](uintptr_t at, const Range& range) { return at < range.begin; });
  if (next == ranges_.begin()) return false;
  --next;
  return begin + bytes <= next->end && (!write || next->writable);
}

}  // namespace attnrt::test
