// SPDX-License-Identifier: Apache-2.0
// A GPU for `sweep` and `replay`: its memory, and its time by CUDA events.
#include "perf/cuda_device.hpp"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <stdexcept>

#include "perf/cli.hpp"
#include "perf/cuda/probe.hpp"

namespace attnrt::perf {
namespace {

void require(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

class Event {
 public:
  Event() { require(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  [[nodiscard]] cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaRead final : public RateProbe {
 public:
  CudaRead(MeasuredDevice& device, std::span<const std::byte> memory, int64_t slice_bytes)
      : device_(device),
        sink_(device, sizeof(uint32_t)),
        memory_(memory),
        slice_bytes_(std::min(slice_bytes, static_cast<int64_t>(memory.size())) / 16 * 16) {}

  double run() override {
    const std::byte* const slice = memory_.data() + next_;
    next_ += slice_bytes_;
    if (next_ + slice_bytes_ > static_cast<int64_t>(memory_.size())) next_ = 0;
    const double seconds = device_.timed(
        [&] { read_all(slice, slice_bytes_, reinterpret_cast<uint32_t*>(sink_.data())); });
    return static_cast<double>(slice_bytes_) / std::max(seconds, 1e-9);
  }
  [[nodiscard]] std::string_view name() const override { return "16-byte loads"; }

 private:
  MeasuredDevice& device_;
  DeviceBuffer sink_;
  std::span<const std::byte> memory_;
  int64_t slice_bytes_;  // whole loads
  int64_t next_ = 0;
};

class CudaMultiply final : public RateProbe {
 public:
  CudaMultiply(MeasuredDevice& device, DType dtype, int32_t num_sms)
      : device_(device), sink_(device, sizeof(float)), bf16_(dtype == DType::kBF16), sms_(num_sms) {
    run();  // loads the kernel
  }

  double run() override {
    double flops = 0.0;
    const double seconds = device_.timed(
        [&] { flops = multiply_all(bf16_, sms_, reinterpret_cast<float*>(sink_.data())); });
    return flops / std::max(seconds, 1e-9);
  }
  [[nodiscard]] std::string_view name() const override {
    return bf16_ ? "bf16 mma.sync" : "f16 mma.sync";
  }

 private:
  MeasuredDevice& device_;
  DeviceBuffer sink_;
  bool bf16_;
  int32_t sms_;
};

class CudaDevice final : public MeasuredDevice {
 public:
  explicit CudaDevice(const cudaDeviceProp& properties) : properties_(properties) {}

  [[nodiscard]] std::string name() const override { return properties_.name; }
  [[nodiscard]] Device device() const override { return Device::kCuda; }
  [[nodiscard]] bool host_memory() const override { return false; }
  [[nodiscard]] int64_t cache_bytes() const override { return properties_.l2CacheSize; }
  [[nodiscard]] int64_t free_bytes() const override {
    size_t free = 0;
    size_t total = 0;
    require(cudaMemGetInfo(&free, &total));
    return static_cast<int64_t>(free);
  }

  std::byte* allocate(size_t bytes) override {
    void* data = nullptr;
    const cudaError_t error = cudaMalloc(&data, std::max<size_t>(bytes, 1));
    if (error == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();  // it is no longer the last one
      throw std::bad_alloc();
    }
    require(error);
    return static_cast<std::byte*>(data);
  }
  void release(std::byte* data) noexcept override { cudaFree(data); }

  void copy_in(std::byte* target, const void* source, size_t bytes) override {
    require(cudaMemcpy(target, source, bytes, cudaMemcpyHostToDevice));
  }
  void copy_out(void* target, const std::byte* source, size_t bytes) override {
    require(cudaMemcpy(target, source, bytes, cudaMemcpyDeviceToHost));
  }

  double timed(const std::function<void()>& work) override {
    require(cudaEventRecord(begin_.get()));
    work();
    require(cudaGetLastError());
    require(cudaEventRecord(end_.get()));
    require(cudaEventSynchronize(end_.get()));
    float milliseconds = 0.0f;
    require(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()));
    return milliseconds * 1e-3;
  }

  [[nodiscard]] int64_t huge_bytes(const std::byte*) const override { return -1; }

  std::unique_ptr<RateProbe> read_probe(std::span<const std::byte> memory, int64_t slice_bytes,
                                        const Context&) override {
    return std::make_unique<CudaRead>(*this, memory, slice_bytes);
  }
  std::unique_ptr<RateProbe> multiply_probe(const Context&, DType dtype) override {
    return std::make_unique<CudaMultiply>(*this, dtype, properties_.multiProcessorCount);
  }

 private:
  cudaDeviceProp properties_;
  Event begin_;
  Event end_;
};

}  // namespace

std::unique_ptr<MeasuredDevice> open_cuda_device() {
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count == 0) error = cudaErrorNoDevice;
  int current = 0;
  if (error == cudaSuccess) error = cudaGetDevice(&current);
  cudaDeviceProp properties{};
  if (error == cudaSuccess) error = cudaGetDeviceProperties(&properties, current);
  if (error != cudaSuccess) {
    throw BadInput(fmt::format("--backend is 'cuda': {}", cudaGetErrorString(error)));
  }
  return std::make_unique<CudaDevice>(properties);
}

}  // namespace attnrt::perf
