// SPDX-License-Identifier: Apache-2.0
// `--backend cuda`: the GPU, and what calls on it cannot be. Only the build with ATTNRT_CUDA has
// one; every other says so.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "attnrt/kv_cache.hpp"
#include "perf/measured_device.hpp"

namespace attnrt::perf {

inline constexpr char kCudaBackend[] = "cuda";

/// The current GPU, for contexts on its default stream. Throws BadInput with the reason where there
/// is none or this program was built without CUDA.
std::unique_ptr<MeasuredDevice> open_cuda_device();

/// That for backend "cuda", the host for every other.
std::unique_ptr<MeasuredDevice> open_device(const std::string& backend);

/// What decides, with any GPU, whether the CUDA backend takes a call.
struct CudaShape {
  DType dtype = DType::kBF16;  // of q, K and V
  KvLayout layout = KvLayout::kNHD;
  int32_t head_dim = 128;
  int32_t head_dim_v = 128;
  bool v_is_k_prefix = false;
};

/// Empty, or what the CUDA backend lacks. Masks, scores and the like are left for it to refuse.
std::string cuda_lacks(const CudaShape& shape);

}  // namespace attnrt::perf
