// SPDX-License-Identifier: Apache-2.0
// Memory of the device and pinned memory beside it, each a block that grows and never shrinks.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace attnrt::cuda {

class DeviceMemory {
 public:
  DeviceMemory() = default;
  ~DeviceMemory() { cudaFree(data_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// At least `bytes`, content lost where it grows. Work that uses the old block ends first.
  cudaError_t grow(size_t bytes) noexcept;
  [[nodiscard]] std::span<std::byte> memory() const noexcept { return {data_, bytes_}; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

/// Pinned memory from which the stream copies later. There are several blocks, taken in turns: only
/// who is more than kBlocks uploads ahead of the device waits for it.
class Staging {
 public:
  static constexpr size_t kBlocks = 8;

  Staging() = default;
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// A block of at least `bytes` that nobody reads any more. Where one has to grow all do, waiting
  /// for those that are read, so that the next uploads of this size allocate nothing.
  cudaError_t take(size_t bytes, std::byte*& data) noexcept;

  /// Copies the block that was taken last, in the order of the stream.
  cudaError_t upload(std::byte* target, size_t bytes, cudaStream_t stream) noexcept;

 private:
  struct Block {
    std::byte* data = nullptr;
    cudaEvent_t copied = nullptr;
  };
  cudaError_t grow(size_t bytes) noexcept;
  void free() noexcept;

  std::array<Block, kBlocks> blocks_;
  size_t bytes_ = 0;  // of each
  size_t next_ = 0;
};

}  // namespace attnrt::cuda
