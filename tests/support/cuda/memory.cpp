// SPDX-License-Identifier: Apache-2.0
// Memory of the emulated device, pinned memory, and what is asked about the device.
#include <sys/mman.h>

#include <cstring>
#include <utility>

#include "tests/support/cuda/device_state.hpp"

namespace attnrt::test {
namespace {

constexpr std::align_val_t kAlign{256};

void* new_pages(size_t bytes) {
  void* made = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return made == MAP_FAILED ? nullptr : made;
}

}  // namespace

DeviceState& DeviceState::get() {
  static DeviceState state;
  return state;
}

cudaError_t DeviceState::allocate(bool pinned, void** data, size_t bytes) {
  if (spoils_capture()) return cudaErrorStreamCaptureUnsupported;
  if (allowed_allocations == 0) return cudaErrorMemoryAllocation;
  if (allowed_allocations > 0) --allowed_allocations;
  ++(pinned ? counts.host_allocations : counts.device_allocations);
  *data = pinned ? ::operator new(bytes, kAlign) : new_pages(bytes);
  if (*data == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*data, 0xff, bytes);  // NaN in all formats, pages that no cache has
  (pinned ? pinned_ : device_)[static_cast<std::byte*>(*data)] = bytes;
  memory_changed_ = true;
  if (!pinned) mprotect(*data, bytes, PROT_NONE);
  return cudaSuccess;
}

cudaError_t DeviceState::free(bool pinned, void* data) {
  if (data == nullptr) return cudaSuccess;
  if (spoils_capture()) return cudaErrorStreamCaptureUnsupported;
  auto& blocks = pinned ? pinned_ : device_;
  const auto at = blocks.find(static_cast<std::byte*>(data));
  if (at == blocks.end()) return cudaErrorInvalidValue;
  ++counts.frees;
  const cudaError_t error = finish();
  if (pinned) {
    std::memset(data, 0xee, at->second);
    ::operator delete(data, kAlign);
  } else {
    munmap(data, at->second);
  }
  blocks.erase(at);
  memory_changed_ = true;
  return error;
}

void DeviceState::open(bool opened) {
  for (const auto& [data, bytes] : device_) {
    mprotect(const_cast<std::byte*>(data), bytes, opened ? PROT_READ | PROT_WRITE : PROT_NONE);
  }
}

bool DeviceState::holds(bool pinned, const void* data, size_t bytes) const {
  const auto& blocks = pinned ? pinned_ : device_;
  const auto* begin = static_cast<const std::byte*>(data);
  auto at = blocks.upper_bound(begin);
  if (at == blocks.begin()) return false;
  --at;
  return begin + bytes <= at->first + at->second;
}

const SimtMemory& DeviceState::memory() {
  if (memory_changed_) {
    memory_ = SimtMemory();
    for (const auto& [data, bytes] : device_) {
      memory_.writable(const_cast<std::byte*>(data), bytes);
    }
    memory_changed_ = false;
  }
  return memory_;
}

bool DeviceState::spoils_capture() {
  bool any = false;
  for (EmulatedStream* stream : streams) {
    if (stream->captured == nullptr) continue;
    stream->spoilt = true;
    any = true;
  }
  return any;
}

DeviceCounts device_counts() { return DeviceState::get().counts; }
void allow_allocations(int count) { DeviceState::get().allowed_allocations = count; }

std::string take_device_failure() {
  DeviceState& device = DeviceState::get();
  if (device.failure.empty()) return {};
  for (EmulatedStream* stream : device.streams) {
    stream->queue.clear();
    stream->done = 0;
  }
  device.last_error = cudaSuccess;
  return std::exchange(device.failure, {});
}

}  // namespace attnrt::test

using attnrt::test::DeviceAtWork;
using attnrt::test::DeviceState;
using attnrt::test::Operation;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorLaunchFailure:
      return DeviceState::get().failure.c_str();
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    default:
      return "invalid argument";
  }
}

cudaError_t cudaGetLastError() { return std::exchange(DeviceState::get().last_error, cudaSuccess); }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return DeviceState::get().note(device == 0 ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated by the tests", 8, 0, 1, size_t{163} << 10};
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr what, int) {
  *value = what == cudaDevAttrComputeCapabilityMajor ? 8 : 0;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, size_t bytes) {
  DeviceState& device = DeviceState::get();
  return device.call([&] { return device.allocate(false, data, bytes); });
}
cudaError_t cudaFree(void* data) {
  DeviceState& device = DeviceState::get();
  return device.call([&] { return device.free(false, data); });
}
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  DeviceState& device = DeviceState::get();
  return device.call([&] { return device.allocate(true, data, bytes); });
}
cudaError_t cudaFreeHost(void* data) {
  DeviceState& device = DeviceState::get();
  return device.call([&] { return device.free(true, data); });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  DeviceState& device = DeviceState::get();
  return device.call([&] {
    if (device.spoils_capture()) return cudaErrorStreamCaptureUnsupported;
    const bool up = kind == cudaMemcpyHostToDevice;
    if (!device.holds(false, up ? to : from, bytes)) return cudaErrorInvalidValue;
    ++device.counts.waits;
    const cudaError_t error = device.finish();
    if (error != cudaSuccess) return error;
    const DeviceAtWork at_work;
    std::memcpy(to, from, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  DeviceState& device = DeviceState::get();
  return device.call([&] {
    // From other host memory it would wait, and could not be captured.
    if (kind != cudaMemcpyHostToDevice || !device.holds(true, from, bytes) ||
        !device.holds(false, to, bytes)) {
      return cudaErrorInvalidValue;
    }
    ++device.counts.uploads;
    return enqueue(stream, Operation([=]() -> std::string {
                     DeviceState& at = DeviceState::get();
                     if (!at.holds(true, from, bytes)) return "a copy from memory that was freed";
                     if (!at.holds(false, to, bytes)) return "a copy to memory that was freed";
                     std::memcpy(to, from, bytes);
                     return {};
                   }));
  });
}
