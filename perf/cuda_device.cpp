// SPDX-License-Identifier: Apache-2.0
#include "perf/cuda_device.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "perf/host_device.hpp"

namespace attnrt::perf {

std::unique_ptr<MeasuredDevice> open_device(const std::string& backend) {
  if (backend == kCudaBackend) return open_cuda_device();
  return std::make_unique<HostDevice>();
}

std::string cuda_lacks(const CudaShape& shape) {
  constexpr int32_t kMostDim = 256;
  if (shape.dtype == DType::kF32) return "the cuda backend takes bf16 and f16, not f32";
  if (shape.layout == KvLayout::kPacked16) {
    return "the cuda backend takes nhd, hnd and varlen, not packed16";
  }
  if (shape.v_is_k_prefix) return "the cuda backend wants V of its own, not a prefix of K (MLA)";
  const int32_t dim = std::max(shape.head_dim, shape.head_dim_v);
  if (dim <= kMostDim) return {};
  return fmt::format("the cuda backend takes head dims up to {}, not {}", kMostDim, dim);
}

}  // namespace attnrt::perf
