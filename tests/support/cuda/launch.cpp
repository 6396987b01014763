// SPDX-License-Identifier: Apache-2.0
// The backend's launches, as work for the emulator. What kernels are told is copied when they are
// launched, as on a device, and read when they run.
#include "backends/cuda/launch.hpp"

#include <algorithm>

#include "backends/cuda/kernels/merge.cuh"
#include "backends/cuda/kernels/shapes.hpp"
#include "tests/support/cuda/device_state.hpp"
#include "tests/support/simt_launch.hpp"

namespace attnrt::cuda {
namespace {

using test::DeviceState;
using test::Operation;

template <class Call>
cudaError_t launched(cudaStream_t stream, const Call& call) {
  DeviceState& device = DeviceState::get();
  return device.call([&] {
    ++device.counts.launches;
    return test::enqueue(stream, Operation(call));
  });
}

cudaError_t launch_units(const AttendLaunch& launch, AttendParams params, bool tall,
                         cudaStream_t stream) {
  params.units = tall ? launch.tall_units : launch.short_units;
  const uint32_t count = tall ? launch.num_tall : launch.num_short;
  if (count == 0) return cudaSuccess;
  const test::SimtKernel kernel = test::simt_attend_kernel(launch.dtype, launch.padded_dim, tall);
  test::SimtLaunch grid;
  grid.blocks_x = count;
  grid.blocks_y = launch.kv_heads;
  return launched(stream, [=] {
    return test::simt_launch_attend(kernel, params, DeviceState::get().memory(), grid);
  });
}

}  // namespace

int32_t largest_shared_bytes() noexcept { return TallShape<256>::kSharedBytes; }
cudaError_t prepare_kernels() noexcept { return cudaSuccess; }

cudaError_t launch_attend(const AttendLaunch& launch, AttendParams params,
                          cudaStream_t stream) noexcept {
  const cudaError_t error = launch_units(launch, params, true, stream);
  return error == cudaSuccess ? launch_units(launch, params, false, stream) : error;
}

cudaError_t launch_merge(const MergeParams& params, uint32_t tiles, int64_t rows,
                         cudaStream_t stream) noexcept {
  if (tiles == 0 || rows == 0) return cudaSuccess;
  return launched(stream, [=] {
    return test::simt_launch_rows(rows, tiles, DeviceState::get().memory(),
                                  [&] { merge_states_block(params); });
  });
}

cudaError_t launch_merge_finished(const MergeFinishedParams& params, cudaStream_t stream) noexcept {
  const int64_t rows = int64_t{params.output.total_q} * params.output.heads_q;
  return launched(stream, [=] {
    return test::simt_launch_rows(rows, 1, DeviceState::get().memory(),
                                  [&] { merge_finished_block(params); });
  });
}

cudaError_t launch_clear(const StateParams& states, int64_t count, int32_t dim,
                         cudaStream_t stream) noexcept {
  return launched(stream, [=] {
    return test::simt_launch_rows(count, 1, DeviceState::get().memory(),
                                  [&] { clear_states_block(states, count, dim); });
  });
}

cudaError_t launch_append(const AppendParams& params, cudaStream_t stream) noexcept {
  return launched(stream,
                  [=] { return test::simt_launch_append(params, DeviceState::get().memory()); });
}

}  // namespace attnrt::cuda
