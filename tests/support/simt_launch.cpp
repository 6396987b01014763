// SPDX-License-Identifier: Apache-2.0
#include "tests/support/simt_launch.hpp"

#include "backends/cuda/kernels/append.cuh"
#include "backends/cuda/kernels/attend.cuh"
#include "backends/cuda/kernels/merge.cuh"
#include "backends/cuda/kernels/shapes.hpp"

namespace attnrt::test {
namespace {

template <class T, class Shape>
SimtKernel kernel_of() {
  return {[](const cuda::AttendParams& params) { cuda::AttendBlock<T, Shape>(params).run(); },
          Shape::kThreads, Shape::kSharedBytes, Shape::kHeadsTogether};
}

template <class T>
SimtKernel kernel_of_dim(int32_t dim, bool tall) {
  switch (dim) {
    case 64:
      return tall ? kernel_of<T, cuda::TallShape<64>>() : kernel_of<T, cuda::ShortShape<64>>();
    case 128:
      return tall ? kernel_of<T, cuda::TallShape<128>>() : kernel_of<T, cuda::ShortShape<128>>();
    case 192:
      return tall ? kernel_of<T, cuda::TallShape<192>>() : kernel_of<T, cuda::ShortShape<192>>();
    default:
      return tall ? kernel_of<T, cuda::TallShape<256>>() : kernel_of<T, cuda::ShortShape<256>>();
  }
}

}  // namespace

SimtKernel simt_attend_kernel(DType dtype, int32_t padded_dim, bool tall) {
  return dtype == DType::kF16 ? kernel_of_dim<cuda::Half>(padded_dim, tall)
                              : kernel_of_dim<cuda::BFloat16>(padded_dim, tall);
}

std::string simt_launch_attend(const SimtKernel& kernel, const cuda::AttendParams& params,
                               const SimtMemory& memory, SimtLaunch launch) {
  if (launch.blocks_x == 0) return {};
  if (kernel.heads_together) {
    launch.blocks_x *= launch.blocks_y;
    launch.blocks_y = 1;
  }
  launch.threads = kernel.threads;
  launch.shared_bytes = kernel.shared_bytes;
  return simt_run(launch, memory, [&] { kernel.run(params); });
}

std::string simt_launch_rows(int64_t rows, uint32_t tiles, const SimtMemory& memory,
                             const std::function<void()>& kernel) {
  SimtLaunch launch;
  launch.threads = cuda::kMergeThreads;
  launch.blocks_x = static_cast<uint32_t>((rows + cuda::kMergeWarps - 1) / cuda::kMergeWarps);
  launch.blocks_y = tiles;
  return simt_run(launch, memory, kernel);
}

std::string simt_launch_append(const cuda::AppendParams& params, const SimtMemory& memory) {
  SimtLaunch launch;
  launch.threads = cuda::kAppendThreads;
  launch.blocks_x = static_cast<uint32_t>(params.total_new);
  launch.blocks_y = static_cast<uint32_t>(params.num_halves);
  return simt_run(launch, memory, [&] { cuda::append_block(params); });
}

}  // namespace attnrt::test
