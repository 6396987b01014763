// SPDX-License-Identifier: Apache-2.0
// Kernels, launched. Nothing here syncs or allocates, so that streams can be captured.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "attnrt/tensor.hpp"
#include "backends/cuda/kernels/params.hpp"

namespace attnrt::cuda {

/// Shared memory that the largest block asks for, which a device must grant.
int32_t largest_shared_bytes() noexcept;

/// To be called once for each device before its first launch.
cudaError_t prepare_kernels() noexcept;

struct AttendLaunch {
  DType dtype = DType::kBF16;
  int32_t padded_dim = 0;
  uint32_t num_short = 0;  // units of up to 16 rows
  uint32_t num_tall = 0;
  const DeviceUnit* short_units = nullptr;
  const DeviceUnit* tall_units = nullptr;
  uint32_t kv_heads = 0;
};

cudaError_t launch_attend(const AttendLaunch& launch, AttendParams params,
                          cudaStream_t stream) noexcept;

/// The states of `tiles` tiles of at most `rows` rows each (tokens x heads).
cudaError_t launch_merge(const MergeParams& params, uint32_t tiles, int64_t rows,
                         cudaStream_t stream) noexcept;
cudaError_t launch_merge_finished(const MergeFinishedParams& params, cudaStream_t stream) noexcept;
cudaError_t launch_clear(const StateParams& states, int64_t count, int32_t dim,
                         cudaStream_t stream) noexcept;
cudaError_t launch_append(const AppendParams& params, cudaStream_t stream) noexcept;

}  // namespace attnrt::cuda
