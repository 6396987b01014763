// SPDX-License-Identifier: Apache-2.0
// The emulated device itself: its memory, what waits on its streams, what it has been asked. One
// thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <new>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/cuda/emulated_device.hpp"
#include "tests/support/simt_memory.hpp"

namespace attnrt::test {

/// What a stream will do. Held in place, so that nothing is allocated as calls put it there: tests
/// count the allocations of the library alone.
class Operation {
 public:
  template <class Call>
  explicit Operation(const Call& call) {
    static_assert(sizeof(Call) <= sizeof storage_ && alignof(Call) <= 16);
    static_assert(std::is_trivially_copyable_v<Call>);
    new (storage_.data()) Call(call);
    run_ = [](const std::byte* data) {
      return (*std::launder(reinterpret_cast<const Call*>(data)))();
    };
  }
  /// Empty, or what is wrong.
  [[nodiscard]] std::string run() const { return run_(storage_.data()); }

 private:
  alignas(16) std::array<std::byte, 2560> storage_;
  std::string (*run_)(const std::byte* data);
};

class DeviceState {
 public:
  static DeviceState& get();

  /// Every call of the runtime goes through here: fails while the device has failed, and keeps the
  /// error for cudaGetLastError.
  template <class Call>
  cudaError_t call(const Call& body) {
    return note(failure.empty() ? body() : cudaErrorLaunchFailure);
  }
  cudaError_t note(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
  }

  cudaError_t allocate(bool pinned, void** data, size_t bytes);
  cudaError_t free(bool pinned, void* data);
  /// Whether all of it is one live allocation.
  [[nodiscard]] bool holds(bool pinned, const void* data, size_t bytes) const;
  /// Device memory is no host's: touching it from there ends the program, unless it is opened.
  void open(bool opened);
  /// Device memory, as kernels may touch it.
  const SimtMemory& memory();

  /// Does all work of all streams.
  cudaError_t finish();

  /// To be called where the work of a captured stream cannot go on: true while one is captured,
  /// and that capture is lost.
  bool spoils_capture();

  DeviceCounts counts;
  int allowed_allocations = -1;
  std::string failure;
  cudaError_t last_error = cudaSuccess;
  std::vector<EmulatedStream*> streams;

 private:
  std::map<const std::byte*, size_t> device_, pinned_;
  SimtMemory memory_;
  bool memory_changed_ = false;
};

/// While there is one, device memory is open.
class DeviceAtWork {
 public:
  DeviceAtWork() { DeviceState::get().open(true); }
  ~DeviceAtWork() { DeviceState::get().open(false); }
  DeviceAtWork(const DeviceAtWork&) = delete;
  DeviceAtWork& operator=(const DeviceAtWork&) = delete;
};

/// Puts work on a stream, or into the graph that is captured from it.
cudaError_t enqueue(cudaStream_t stream, const Operation& operation);

}  // namespace attnrt::test

struct EmulatedGraph {
  std::vector<attnrt::test::Operation> operations;
};

struct EmulatedStream {
  std::vector<attnrt::test::Operation> queue;
  size_t done = 0;  // of the queue
  EmulatedGraph* captured = nullptr;
  bool spoilt = false;
};
