// SPDX-License-Identifier: Apache-2.0
// A launch with an error of its own: cudaGetLastError, which <<<..>>> leaves one to, may return
// that of an earlier call of the application's.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

namespace attnrt::cuda {

struct LaunchShape {
  dim3 blocks;
  uint32_t threads = 0;
  uint32_t shared_bytes = 0;
};

template <class... Params>
cudaError_t launch_kernel(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
                          std::type_identity_t<Params>... params) noexcept {
  void* arguments[] = {&params...};
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), shape.blocks, dim3(shape.threads),
                          arguments, shape.shared_bytes, stream);
}

}  // namespace attnrt::cuda
