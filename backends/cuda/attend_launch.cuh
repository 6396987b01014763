// SPDX-License-Identifier: Apache-2.0
// The attention kernels of one padded head dim, both dtypes: each attend_<dim>.cu compiles one set.
#pragma once

#include "backends/cuda/kernels/attend.cuh"
#include "backends/cuda/kernels/shapes.hpp"
#include "backends/cuda/launch.hpp"
#include "backends/cuda/launch_kernel.cuh"

namespace attnrt::cuda {

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    attend_kernel(const __grid_constant__ AttendParams params) {
  AttendBlock<T, Shape>(params).run();
}

template <class T, class Shape>
cudaError_t prepare_kernel() noexcept {
  return cudaFuncSetAttribute(attend_kernel<T, Shape>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(Shape::kSharedBytes));
}

template <class T, class Shape>
cudaError_t launch_units(AttendParams params, const DeviceUnit* units, uint32_t count,
                         uint32_t kv_heads, cudaStream_t stream) noexcept {
  if (count == 0) return cudaSuccess;
  params.units = units;
  const dim3 blocks = Shape::kHeadsTogether ? dim3(count * kv_heads) : dim3(count, kv_heads);
  return launch_kernel(attend_kernel<T, Shape>, {blocks, Shape::kThreads, Shape::kSharedBytes},
                       stream, params);
}

template <class T, int kDim>
cudaError_t launch_both(const AttendLaunch& launch, const AttendParams& params,
                        cudaStream_t stream) noexcept {
  const cudaError_t error = launch_units<T, TallShape<kDim>>(
      params, launch.tall_units, launch.num_tall, launch.kv_heads, stream);
  if (error != cudaSuccess) return error;
  return launch_units<T, ShortShape<kDim>>(params, launch.short_units, launch.num_short,
                                           launch.kv_heads, stream);
}

/// Defined by attend_<dim>.cu.
template <int kDim>
cudaError_t launch_attend_of(const AttendLaunch& launch, const AttendParams& params,
                             cudaStream_t stream) noexcept;
template <int kDim>
cudaError_t prepare_attend_of() noexcept;

}  // namespace attnrt::cuda

#define ATTNRT_DEFINE_ATTEND(kDim)                                                            \
  namespace attnrt::cuda {                                                                    \
  template <>                                                                                 \
  cudaError_t launch_attend_of<kDim>(const AttendLaunch& launch, const AttendParams& params,  \
                                     cudaStream_t stream) noexcept {                          \
    return launch.dtype == DType::kF16 ? launch_both<Half, kDim>(launch, params, stream)      \
                                       : launch_both<BFloat16, kDim>(launch, params, stream); \
  }                                                                                           \
  template <>                                                                                 \
  cudaError_t prepare_attend_of<kDim>() noexcept {                                            \
    for (cudaError_t(*const prepare)() noexcept :                                             \
         {prepare_kernel<Half, TallShape<kDim>>, prepare_kernel<Half, ShortShape<kDim>>,      \
          prepare_kernel<BFloat16, TallShape<kDim>>,                                          \
          prepare_kernel<BFloat16, ShortShape<kDim>>}) {                                      \
      const cudaError_t error = prepare();                                                    \
      if (error != cudaSuccess) return error;                                                 \
    }                                                                                         \
    return cudaSuccess;                                                                       \
  }                                                                                           \
  }
