// SPDX-License-Identifier: Apache-2.0
// Large memory on huge pages where the system gives them: 2 MB pages are worth 7-8% of decode
// bandwidth, so a measurement must say what it ran on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace attnrt::perf {

/// Anonymous zeroed memory aligned to 2 MB, with a hint for huge pages. Memory that is never
/// touched is never resident.
class HugeBuffer {
 public:
  HugeBuffer() noexcept = default;
  explicit HugeBuffer(size_t bytes);  // throws std::bad_alloc
  HugeBuffer(HugeBuffer&& other) noexcept;
  HugeBuffer& operator=(HugeBuffer&& other) noexcept;
  ~HugeBuffer();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] size_t size() const noexcept { return bytes_; }

  /// Bytes of it that are on huge pages now, from /proc/self/smaps; -1 if the system does not say.
  [[nodiscard]] int64_t huge_bytes() const;

 private:
  std::byte* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace attnrt::perf
