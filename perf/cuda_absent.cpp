// SPDX-License-Identifier: Apache-2.0
// In place of perf/cuda/ where ATTNRT_CUDA is off.
#include "perf/cli.hpp"
#include "perf/cuda_device.hpp"

namespace attnrt::perf {

std::unique_ptr<MeasuredDevice> open_cuda_device() {
  throw BadInput(
      "--backend is 'cuda', which this attnrt-perf was built without: cmake --preset cuda builds "
      "one that has it");
}

}  // namespace attnrt::perf
