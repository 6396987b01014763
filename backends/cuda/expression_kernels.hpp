// SPDX-License-Identifier: Apache-2.0
// Attention kernels with expressions: compiled when a call first needs them, or read from the
// kernel cache, kept as long as the process, launched as those of the build are.
#pragma once

#include <cuda_runtime_api.h>

#include <span>
#include <string>

#include "attnrt/status.hpp"
#include "backends/cuda/expr_source.hpp"
#include "backends/cuda/kernels/params.hpp"

namespace attnrt::cuda {

/// The kernel of `source`, which kernel_source printed for `shape`, on a device. Compiles for
/// seconds where no call has asked for the same source and architecture before; errors are
/// remembered, too. Any number of threads. Errors: Unsupported where there is no libnvrtc, or the
/// CUDA runtime of the build is older than 12.8; Internal.
Status expression_kernel(const std::string& source, const KernelShape& shape, int device,
                         cudaKernel_t& kernel);

/// Units [units, units + count) for `kv_heads` KV heads each.
struct UnitRange {
  const DeviceUnit* units = nullptr;
  uint32_t count = 0;
  uint32_t kv_heads = 0;
};

/// `slots` are the expression's.
cudaError_t launch_expression(cudaKernel_t kernel, const KernelShape& shape, AttendParams params,
                              std::span<DeviceSlot> slots, const UnitRange& range,
                              cudaStream_t stream) noexcept;

}  // namespace attnrt::cuda
