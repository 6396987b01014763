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

Staging::~Staging() { free(); }

void Staging::free() noexcept {
  bytes_ = 0;
  for (Block& block : blocks_) {
    if (block.copied != nullptr) {
      cudaEventSynchronize(block.copied);
      cudaEventDestroy(block.copied);
    }
    cudaFreeHost(block.data);
    block = {};
  }
}

cudaError_t Staging::grow(size_t bytes) noexcept {
  free();
  const size_t wanted = bytes + bytes / 2;
  for (Block& block : blocks_) {
    void* memory = nullptr;
    cudaError_t error = cudaEventCreateWithFlags(&block.copied, cudaEventDisableTiming);
    if (error == cudaSuccess) error = cudaHostAlloc(&memory, wanted, cudaHostAllocDefault);
    if (error != cudaSuccess) return error;
    block.data = static_cast<std::byte*>(memory);
  }
  bytes_ = wanted;
  return cudaSuccess;
}

cudaError_t Staging::take(size_t bytes, std::byte*& data) noexcept {
  if (bytes > bytes_) {
    const cudaError_t error = grow(bytes);
    if (error != cudaSuccess) return error;
  }
  next_ = (next_ + 1) % kBlocks;
  data = blocks_[next_].data;
  return cudaEventSynchronize(blocks_[next_].copied);
}

cudaError_t Staging::upload(std::byte* target, size_t bytes, cudaStream_t stream) noexcept {
  Block& block = blocks_[next_];
  const cudaError_t error =
      cudaMemcpyAsync(target, block.data, bytes, cudaMemcpyHostToDevice, stream);
  if (error != cudaSuccess) return error;
  return cudaEventRecord(block.copied, stream);
}

}  // namespace attnrt::cuda
