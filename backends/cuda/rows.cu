// SPDX-License-Identifier: Apache-2.0
// The kernels that work row by row (merge, append), and the choice of an attention kernel.
#include <algorithm>

#include "backends/cuda/attend_launch.cuh"
#include "backends/cuda/kernels/append.cuh"
#include "backends/cuda/kernels/merge.cuh"

namespace attnrt::cuda {
namespace {

__global__ void __launch_bounds__(kMergeThreads)
    merge_kernel(const __grid_constant__ MergeParams params) {
  merge_states_block(params);
}

__global__ void __launch_bounds__(kMergeThreads)
    merge_finished_kernel(const __grid_constant__ MergeFinishedParams params) {
  merge_finished_block(params);
}

__global__ void __launch_bounds__(kMergeThreads)
    clear_kernel(const __grid_constant__ StateParams states, int64_t count, int32_t dim) {
  clear_states_block(states, count, dim);
}

__global__ void __launch_bounds__(kAppendThreads)
    append_kernel(const __grid_constant__ AppendParams params) {
  append_block(params);
}

// A kernel is loaded when it is first asked for, which must not be while a stream is captured.
template <class Kernel>
cudaError_t load(Kernel* kernel) {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel));
}

uint32_t blocks_for(int64_t rows) {
  return static_cast<uint32_t>((rows + kMergeWarps - 1) / kMergeWarps);
}

}  // namespace

int32_t largest_shared_bytes() noexcept {
  return static_cast<int32_t>(
      std::max({TallShape<64>::kSharedBytes, TallShape<128>::kSharedBytes,
                TallShape<192>::kSharedBytes, TallShape<256>::kSharedBytes,
                ShortShape<192>::kSharedBytes, ShortShape<256>::kSharedBytes}));
}

cudaError_t prepare_kernels() noexcept {
  for (cudaError_t (*const prepare)() noexcept : {prepare_attend_of<64>, prepare_attend_of<128>,
                                                  prepare_attend_of<192>, prepare_attend_of<256>}) {
    const cudaError_t error = prepare();
    if (error != cudaSuccess) return error;
  }
  cudaError_t error = load(merge_kernel);
  if (error == cudaSuccess) error = load(merge_finished_kernel);
  if (error == cudaSuccess) error = load(clear_kernel);
  if (error == cudaSuccess) error = load(append_kernel);
  return error;
}

cudaError_t launch_attend(const AttendLaunch& launch, AttendParams params,
                          cudaStream_t stream) noexcept {
  switch (launch.padded_dim) {
    case 64:
      return launch_attend_of<64>(launch, params, stream);
    case 128:
      return launch_attend_of<128>(launch, params, stream);
    case 192:
      return launch_attend_of<192>(launch, params, stream);
    default:
      return launch_attend_of<256>(launch, params, stream);
  }
}

cudaError_t launch_merge(const MergeParams& params, uint32_t tiles, int64_t rows,
                         cudaStream_t stream) noexcept {
  if (tiles == 0 || rows == 0) return cudaSuccess;
  // The second dimension of a grid ends at 65535.
  constexpr uint32_t kMostTiles = 65535;
  for (uint32_t first = 0; first < tiles; first += kMostTiles) {
    MergeParams some = params;
    if (some.tiles != nullptr) some.tiles += first;
    const dim3 blocks(blocks_for(rows), std::min(tiles - first, kMostTiles));
    const cudaError_t error = launch_kernel(merge_kernel, {blocks, kMergeThreads}, stream, some);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t launch_merge_finished(const MergeFinishedParams& params, cudaStream_t stream) noexcept {
  const int64_t rows = int64_t{params.output.total_q} * params.output.heads_q;
  if (rows == 0) return cudaSuccess;
  return launch_kernel(merge_finished_kernel, {dim3(blocks_for(rows)), kMergeThreads}, stream,
                       params);
}

cudaError_t launch_clear(const StateParams& states, int64_t count, int32_t dim,
                         cudaStream_t stream) noexcept {
  if (count == 0) return cudaSuccess;
  return launch_kernel(clear_kernel, {dim3(blocks_for(count)), kMergeThreads}, stream, states,
                       count, dim);
}

cudaError_t launch_append(const AppendParams& params, cudaStream_t stream) noexcept {
  if (params.total_new == 0) return cudaSuccess;
  const dim3 blocks(static_cast<uint32_t>(params.total_new),
                    static_cast<uint32_t>(params.num_halves));
  return launch_kernel(append_kernel, {blocks, kAppendThreads}, stream, params);
}

}  // namespace attnrt::cuda
