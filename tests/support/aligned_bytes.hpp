// SPDX-License-Identifier: Apache-2.0
// Bytes that begin on a 64-byte line, as packed16 caches must.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace attnrt::test {

class AlignedBytes {
 public:
  AlignedBytes() = default;
  explicit AlignedBytes(size_t bytes, std::byte value = std::byte{0}) { assign(bytes, value); }

  void assign(size_t bytes, std::byte value) {
    lines_.resize((bytes + sizeof(Line) - 1) / sizeof(Line));
    size_ = bytes;
    if (bytes > 0) std::memset(data(), static_cast<int>(value), bytes);
  }

  [[nodiscard]] std::byte* data() { return lines_.empty() ? nullptr : lines_.data()->bytes; }
  [[nodiscard]] const std::byte* data() const {
    return lines_.empty() ? nullptr : lines_.data()->bytes;
  }
  [[nodiscard]] size_t size() const { return size_; }

  friend bool operator==(const AlignedBytes& a, const AlignedBytes& b) {
    return std::ranges::equal(std::span(a.data(), a.size_), std::span(b.data(), b.size_));
  }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> lines_;
  size_t size_ = 0;
};

}  // namespace attnrt::test
