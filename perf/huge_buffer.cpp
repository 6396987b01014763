// SPDX-License-Identifier: Apache-2.0
// mmap with MADV_HUGEPAGE.
#include "perf/huge_buffer.hpp"

#include <sys/mman.h>

#include <charconv>
#include <fstream>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace attnrt::perf {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

HugeBuffer::HugeBuffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes > SIZE_MAX - 2 * kHugePage) throw std::bad_alloc();
  mapping_bytes_ = (bytes + kHugePage - 1) / kHugePage * kHugePage + kHugePage;
  void* mapping = mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<std::byte*>(mapping);
  const auto address = reinterpret_cast<uintptr_t>(mapping_);
  data_ = mapping_ + (kHugePage - address % kHugePage) % kHugePage;
#ifdef MADV_HUGEPAGE
  // A hint: without huge pages everything works, slower; huge_bytes() says which it was.
  (void)madvise(data_, mapping_bytes_ - kHugePage, MADV_HUGEPAGE);
#endif
}

HugeBuffer::HugeBuffer(HugeBuffer&& other) noexcept
    : mapping_(std::exchange(other.mapping_, nullptr)),
      mapping_bytes_(std::exchange(other.mapping_bytes_, 0)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

HugeBuffer& HugeBuffer::operator=(HugeBuffer&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_bytes_, other.mapping_bytes_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

HugeBuffer::~HugeBuffer() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}

int64_t HugeBuffer::huge_bytes() const {
  std::ifstream smaps("/proc/self/smaps");
  if (!smaps) return -1;
  const auto begin = reinterpret_cast<uintptr_t>(mapping_);
  const uintptr_t end = begin + mapping_bytes_;
  int64_t total = 0;
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    // A mapping starts with "begin-end perms .."; its other lines with "Name:". The advice splits
    // our mapping into several.
    uintptr_t from = 0;
    const auto [at, error] = std::from_chars(line.data(), line.data() + line.size(), from, 16);
    if (error == std::errc() && at != line.data() + line.size() && *at == '-') {
      inside = from >= begin && from < end;
    } else if (inside && line.starts_with("AnonHugePages:")) {
      total += std::stoll(line.substr(sizeof("AnonHugePages:") - 1)) * 1024;
    }
  }
  return total;
}

}  // namespace attnrt::perf
