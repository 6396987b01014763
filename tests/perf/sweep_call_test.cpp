// SPDX-License-Identifier: Apache-2.0
// A sweep's call computes attention over the copy whose turn it is.
#include "perf/sweep_call.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "perf/host_device.hpp"
#include "tests/perf/stand_in_device.hpp"

namespace attnrt::perf {
namespace {

SweepCase case_of(KvLayout layout, DType dtype) {
  SweepCase c;
  c.dtype = dtype;
  c.heads = {4, 2};
  c.head_dim = 16;
  c.head_dim_v = 8;
  c.layout = layout;
  c.page_size = layout == KvLayout::kPacked ? 0 : 4;
  if (layout == KvLayout::kPacked16) c.page_size = 16;
  c.batch = 2;
  c.q_len = 3;
  c.kv_len = 21;
  c.threads = 1;
  c.causal = true;
  return c;
}

std::vector<std::byte> output_of(const SweepCall& call) {
  const TensorView& out = call.args().out;
  const int64_t elements = out.shape[0] * out.shape[1] * out.shape[2];
  std::vector<std::byte> bytes(static_cast<size_t>(elements * size_of(out.dtype)));
  std::memcpy(bytes.data(), out.data, bytes.size());
  return bytes;
}

TEST_CASE("each call takes the next copy, and the first one after the last") {
  for (const KvLayout layout :
       {KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked, KvLayout::kPacked16}) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      CAPTURE(to_string(layout));
      CAPTURE(to_string(dtype));
      const SweepCase c = case_of(layout, dtype);
      const KvRotation rotation(c, 3);
      HostDevice device;
      KvMemory memory(device);
      SweepCall call(c, rotation, memory.get(rotation.total_bytes(), dtype), device);
      REQUIRE(call.prepare().ok());
      ContextOptions options;
      options.backend = "reference";
      Context context;
      REQUIRE(Context::create(options, context).ok());
      std::vector<std::vector<std::byte>> outputs;
      for (int i = 0; i < 4; ++i) {
        const Status status = call.attend(context, {});
        REQUIRE_MESSAGE(status.ok(), status.message());
        outputs.push_back(output_of(call));
      }
      CHECK(outputs[0] != outputs[1]);
      CHECK(outputs[1] != outputs[2]);
      CHECK(outputs[0] != outputs[2]);
      CHECK(outputs[3] == outputs[0]);
    }
  }
}

TEST_CASE("on a device, results are those of the host, and lie there") {
  const SweepCase c = case_of(KvLayout::kNHD, DType::kBF16);
  const KvRotation rotation(c, 1);
  Context context;
  HostDevice host;
  StandInDevice device;
  KvMemory here(host);
  KvMemory there(device);
  SweepCall expected(c, rotation, here.get(rotation.total_bytes(), c.dtype), host);
  SweepCall call(c, rotation, there.get(rotation.total_bytes(), c.dtype), device);
  REQUIRE(expected.prepare().ok());
  REQUIRE(call.prepare().ok());
  REQUIRE(expected.attend(context, {}).ok());
  REQUIRE(call.attend(context, {}).ok());
  CHECK(output_of(call) == output_of(expected));
  CHECK(device.has(call.args().q.data, 2 * 3 * 4 * 16 * 2));
  CHECK(device.has(call.args().out.data, 2 * 3 * 4 * 8 * 2));
  CHECK(device.has(call.args().kv.k, 2 * 21 * 2 * 16 * 2));
}

TEST_CASE("tensors on a device say so: a context of the CPU refuses them") {
  const SweepCase c = case_of(KvLayout::kNHD, DType::kBF16);
  const KvRotation rotation(c, 1);
  StandInDevice device(Device::kCuda);
  KvMemory memory(device);
  SweepCall call(c, rotation, memory.get(rotation.total_bytes(), c.dtype), device);
  REQUIRE(call.prepare().ok());
  ContextOptions options;
  options.backend = "cpu";
  Context context;
  REQUIRE(Context::create(options, context).ok());
  CHECK(call.attend(context, {}).code() == Code::kUnsupported);
  CHECK(call.args().q.device == Device::kCuda);
  CHECK(call.args().out.device == Device::kCuda);
  CHECK(call.args().kv.device == Device::kCuda);
}

TEST_CASE("ragged sequences have the plan of their lengths") {
  for (const KvLayout layout : {KvLayout::kNHD, KvLayout::kPacked}) {
    SweepCase c = case_of(layout, DType::kF32);
    c.q_len = c.kv_len;
    c.ragged = 4;
    c.batch = 6;
    const KvRotation rotation(c, 2);
    HostDevice device;
    KvMemory memory(device);
    SweepCall call(c, rotation, memory.get(rotation.total_bytes(), c.dtype), device);
    const Status status = call.prepare();
    REQUIRE_MESSAGE(status.ok(), status.message());
    CHECK(call.plan().kv_bytes(c.dtype) == work_of(c).kv_bytes);
    CHECK(call.plan().num_scores() * 2 * (16 + 8) == work_of(c).flops);
    Context context;
    CHECK(call.attend(context, {}).ok());
  }
}

TEST_CASE("a mask and a score reach plan and call; work is what the mask leaves") {
  ContextOptions options;
  options.backend = "reference";
  Context context;
  REQUIRE(Context::create(options, context).ok());
  const auto outputs_of = [&](const std::string& mask, const std::string& score, Work& work) {
    SweepCase c = case_of(KvLayout::kNHD, DType::kF32);
    c.causal = mask.empty();
    c.q_len = c.kv_len = 128;
    c.mask = mask;
    c.score = score;
    const KvRotation rotation(c, 1);
    HostDevice device;
    KvMemory memory(device);
    SweepCall call(c, rotation, memory.get(rotation.total_bytes(), c.dtype), device);
    REQUIRE(call.prepare().ok());
    const Status status = call.attend(context, {});
    REQUIRE_MESSAGE(status.ok(), status.message());
    work = call.work();
    return output_of(call);
  };
  Work visible;
  Work tiles;
  const std::vector<std::byte> causal = outputs_of("", "", visible);
  CHECK(outputs_of("causal", "", tiles) == causal);
  CHECK(visible.flops == int64_t{2} * 4 * (128 * 129 / 2) * 2 * (16 + 8));
  CHECK(tiles.flops == int64_t{2} * 4 * (3 * 64 * 64) * 2 * (16 + 8));
  CHECK(tiles.kv_bytes == visible.kv_bytes);
  CHECK(outputs_of("tracks", "", tiles) != causal);
  CHECK(outputs_of("", "bias-table", tiles) != causal);
  CHECK(tiles.flops == visible.flops);
}

TEST_CASE("memory is kept while it fits, and holds numbers of the dtype that was asked for") {
  HostDevice device;
  KvMemory memory(device);
  std::byte* const first = memory.get(int64_t{3} << 20, DType::kF32);
  CHECK(memory.filled_bytes() == int64_t{3} << 20);
  CHECK(memory.get(int64_t{1} << 20, DType::kF32) == first);
  CHECK(memory.filled_bytes() == int64_t{3} << 20);
  float f32 = 0.0f;
  std::memcpy(&f32, first, sizeof f32);
  CHECK(memory.get(int64_t{2} << 20, DType::kF16) == first);
  uint16_t f16 = 0;
  std::memcpy(&f16, first, sizeof f16);
  // One seed, one first number.
  CHECK(f16_to_f32(f16) == doctest::Approx(f32).epsilon(0.01));
  (void)memory.get(int64_t{9} << 20, DType::kF16);
  CHECK(memory.filled_bytes() == int64_t{9} << 20);
}

TEST_CASE("what of it is on huge pages is reported") {
  HostDevice device;
  KvMemory memory(device);
  (void)memory.get(int64_t{8} << 20, DType::kBF16);
  const int64_t huge = memory.huge_bytes();
  CHECK(huge >= 0);  // this system has /proc
  CHECK(huge <= int64_t{10} << 20);
  CHECK(huge % (int64_t{2} << 20) == 0);
}

}  // namespace
}  // namespace attnrt::perf
