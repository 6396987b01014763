// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device_memory.hpp"

namespace attnrt::cuda {

cudaError_t DeviceMemory::grow(size_t bytes) noexcept {
  if (bytes <= bytes_) return cudaSuccess;
  // Half as much again, so that slowly growing batches do not allocate at every step.
  const size_t wanted = bytes + bytes / 2;
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, wanted);
  if (error != cudaSuccess) return error;
  cudaFree(data_);  // waits for kernels that use it
  data_ = static_cast<std::byte*>(data);
  bytes_ = wanted;
  return cudaSuccess;
}

Staging::~Staging() {
  for (Block& block : blocks_) {
    if (block.copied != nullptr) {
      cudaEventSynchronize(block.copied);
      cudaEventDestroy(block.copied);
    }
    cudaFreeHost(block.data);
  }
}

cudaError_t Staging::take(size_t bytes, std::byte*& data) noexcept {
  next_ = (next_ + 1) % kBlocks;
  Block& block = blocks_[next_];
  cudaError_t error = cudaSuccess;
  if (block.copied == nullptr) {
    error = cudaEventCreateWithFlags(&block.copied, cudaEventDisableTiming);
  } else {
    error = cudaEventSynchronize(block.copied);
  }
  if (error != cudaSuccess) return error;
  if (bytes > block.bytes) {
    const size_t wanted = bytes + bytes / 2;
    void* memory = nullptr;
    error = cudaHostAlloc(&memory, wanted, cudaHostAllocDefault);
    if (error != cudaSuccess) return error;
    cudaFreeHost(block.data);
    block.data = static_cast<std::byte*>(memory);
    block.bytes = wanted;
  }
  data = block.data;
  return cudaSuccess;
}

cudaError_t Staging::upload(std::byte* target, size_t bytes, cudaStream_t stream) noexcept {
  Block& block = blocks_[next_];
  const cudaError_t error =
      cudaMemcpyAsync(target, block.data, bytes, cudaMemcpyHostToDevice, stream);
  if (error != cudaSuccess) return error;
  return cudaEventRecord(block.copied, stream);
}

}  // namespace attnrt::cuda
