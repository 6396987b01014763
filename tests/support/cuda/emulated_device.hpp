// SPDX-License-Identifier: Apache-2.0
// What tests ask of the emulated device, and how far behind it is: work on a stream is done as late
// as can be, when the host waits for it. So memory that is reused too early, or read before it is
// there, shows.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

namespace attnrt::test {

/// What the process has asked of the device so far.
struct DeviceCounts {
  int64_t device_allocations = 0;
  int64_t host_allocations = 0;  // pinned
  int64_t frees = 0;             // of both
  int64_t uploads = 0;           // asynchronous copies
  int64_t launches = 0;
  int64_t waits = 0;     // calls after which the host knew more of the device than before
  int64_t compiles = 0;  // by NVRTC
};
ATTNRT_EMULATED DeviceCounts device_counts();

/// Allocations of device and pinned memory that succeed before all others fail; -1: none fails.
ATTNRT_EMULATED void allow_allocations(int count);

/// What the emulator found in a kernel, after which every call fails, as on a real device. Empty:
/// nothing. Clears it, and with it what still waited on streams.
ATTNRT_EMULATED std::string take_device_failure();

}  // namespace attnrt::test
