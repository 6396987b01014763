// SPDX-License-Identifier: Apache-2.0
#include "perf/cuda_device.hpp"

#include <doctest/doctest.h>

#include <string>

#include "backends/cuda/supports.hpp"
#include "perf/cli.hpp"
#include "perf/host_device.hpp"
#include "perf/sweep_call.hpp"
#include "src/plan_data.hpp"
#include "tests/perf/cuda_here.hpp"

namespace attnrt::perf {
namespace {

// What the backend itself says about a call of this shape on a device.
bool backend_takes(const SweepCase& c) {
  HostDevice device;
  const KvRotation rotation(c, 1);
  KvMemory memory(device);
  SweepCall call(c, rotation, memory.get(rotation.total_bytes(), c.dtype), device);
  REQUIRE(call.prepare().ok());
  AttendArgs args = call.args();
  args.q.device = args.kv.device = args.out.device = Device::kCuda;
  return cuda::supports_attend(*call.plan().data(), args).ok();
}

TEST_CASE("what is left out is what the backend refuses") {
  int taken = 0;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const KvLayout layout :
         {KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked, KvLayout::kPacked16}) {
      for (const int32_t dim : {64, 256, 257}) {
        SweepCase c;
        c.dtype = dtype;
        c.heads = {2, 1};
        c.head_dim = 64;
        c.head_dim_v = dim;
        c.layout = layout;
        c.page_size = layout == KvLayout::kPacked ? 0 : 16;
        c.batch = c.q_len = 1;
        c.kv_len = 20;
        CAPTURE(to_string(dtype));
        CAPTURE(to_string(layout));
        CAPTURE(dim);
        const std::string lacks = cuda_lacks({dtype, layout, 64, dim});
        CHECK(lacks.empty() == backend_takes(c));
        taken += lacks.empty() ? 1 : 0;
      }
    }
  }
  CHECK(taken == 2 * 3 * 2);
  CHECK(cuda_lacks({DType::kF32}).find("not f32") != std::string::npos);
  CHECK(cuda_lacks({DType::kBF16, KvLayout::kPacked16}).find("not packed16") != std::string::npos);
  CHECK(cuda_lacks({.head_dim = 576}).find("not 576") != std::string::npos);
  CHECK(cuda_lacks({.v_is_k_prefix = true}).find("prefix of K") != std::string::npos);
}

TEST_CASE("the host for every backend but cuda, which is bad input without a GPU") {
  CHECK(open_device("")->device() == Device::kCpu);
  CHECK(open_device("reference")->host_memory());
  if (cuda_is_here()) return;
  CHECK_THROWS_AS((void)open_device("cuda"), BadInput);
}

}  // namespace
}  // namespace attnrt::perf
