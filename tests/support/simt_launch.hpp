// SPDX-License-Identifier: Apache-2.0
// Kernels of the CUDA backend, emulated with the geometry that the backend launches them with.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "attnrt/tensor.hpp"
#include "backends/cuda/kernels/params.hpp"
#include "tests/support/simt.hpp"

namespace attnrt::test {

/// An attention kernel as C++, and how it is launched.
struct SimtKernel {
  void (*run)(const cuda::AttendParams& params) = nullptr;
  uint32_t threads = 0;
  uint32_t shared_bytes = 0;
  bool heads_together = false;
};

SimtKernel simt_attend_kernel(DType dtype, int32_t padded_dim, bool tall);

/// `launch` has units as blocks_x and KV heads as blocks_y. Empty, or what is wrong.
std::string simt_launch_attend(const SimtKernel& kernel, const cuda::AttendParams& params,
                               const SimtMemory& memory, SimtLaunch launch);

/// A kernel that takes a warp for each of `rows` rows, of each tile.
std::string simt_launch_rows(int64_t rows, uint32_t tiles, const SimtMemory& memory,
                             const std::function<void()>& kernel);

std::string simt_launch_append(const cuda::AppendParams& params, const SimtMemory& memory);

}  // namespace attnrt::test
