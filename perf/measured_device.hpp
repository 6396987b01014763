// SPDX-License-Identifier: Apache-2.0
// Where the tensors of measured calls lie, how time passes there, and what bounds it: the host, or
// a GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "attnrt/attention.hpp"

namespace attnrt::perf {

/// Something that no call can be faster than, run in turns with calls.
class RateProbe {
 public:
  virtual ~RateProbe() = default;

  /// One run; bytes or operations per second.
  virtual double run() = 0;

  /// Of the loop or the instruction: "f32 FMA".
  [[nodiscard]] virtual std::string_view name() const = 0;
};

/// Functions throw std::bad_alloc where memory is short, std::runtime_error where a device fails.
class MeasuredDevice {
 public:
  virtual ~MeasuredDevice() = default;

  [[nodiscard]] virtual std::string name() const = 0;

  /// What tensors in its memory are marked with.
  [[nodiscard]] virtual Device device() const = 0;

  /// The program may read and write its memory without copies.
  [[nodiscard]] virtual bool host_memory() const = 0;

  /// Last-level cache, and memory that can be had now; 0 where unknown.
  [[nodiscard]] virtual int64_t cache_bytes() const = 0;
  [[nodiscard]] virtual int64_t free_bytes() const = 0;

  /// Aligned to 64 bytes at least.
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void release(std::byte* data) noexcept = 0;

  /// Both wait until the copy is done.
  virtual void copy_in(std::byte* target, const void* source, size_t bytes) = 0;
  virtual void copy_out(void* target, const std::byte* source, size_t bytes) = 0;

  /// Seconds from where `work` begins there to where all that it asked for is done.
  virtual double timed(const std::function<void()>& work) = 0;

  /// Bytes of an allocation that are on huge pages; -1 where that is unknown or means nothing.
  [[nodiscard]] virtual int64_t huge_bytes(const std::byte* data) const = 0;

  /// Reads slices of `memory` in turn with the threads of `context`. Borrows both, and the device.
  virtual std::unique_ptr<RateProbe> read_probe(std::span<const std::byte> memory,
                                                int64_t slice_bytes, const Context& context) = 0;

  /// Multiplies with what calls of this context and dtype multiply with. Borrows the device.
  virtual std::unique_ptr<RateProbe> multiply_probe(const Context& context, DType dtype) = 0;
};

/// Memory of a device, which must outlive it.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(MeasuredDevice& device, size_t bytes)
      : device_(&device), data_(device.allocate(bytes)), bytes_(bytes) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceBuffer() {
    if (data_ != nullptr) device_->release(data_);
  }

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] size_t size() const { return bytes_; }

 private:
  MeasuredDevice* device_ = nullptr;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

/// random_fill() for memory of any device.
void fill_random(MeasuredDevice& device, std::byte* data, DType dtype, int64_t elements,
                 uint64_t seed);

}  // namespace attnrt::perf
