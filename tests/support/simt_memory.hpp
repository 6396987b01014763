// SPDX-License-Identifier: Apache-2.0
// The global memory of emulated kernels: everything else is out of bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace attnrt::test {

/// The buffers that kernels may touch.
class SimtMemory {
 public:
  void readable(const void* data, size_t bytes) { add(data, bytes, false); }
  void writable(void* data, size_t bytes) { add(data, bytes, true); }

  /// All of [data, data + bytes) lies in one buffer (that may be written).
  [[nodiscard]] bool allows(const void* data, size_t bytes, bool write) const;

 private:
  struct Range {
    uintptr_t begin;
    uintptr_t end;
    bool writable;
  };
  void add(const void* data, size_t bytes, bool writable);
  std::vector<Range> ranges_;
};

}  // namespace attnrt::test
