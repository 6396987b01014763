// SPDX-License-Identifier: Apache-2.0
#include "perf/host_device.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace attnrt::perf {
namespace {

TEST_CASE("memory is the program's own, aligned, and on huge pages as far as the system says") {
  HostDevice device;
  constexpr size_t kBytes = size_t{8} << 20;
  const DeviceBuffer buffer(device, kBytes);
  const DeviceBuffer other(device, 0);
  CHECK(device.host_memory());
  CHECK(device.device() == Device::kCpu);
  CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % 64 == 0);
  CHECK(buffer.data() != other.data());
  const std::vector<std::byte> source(kBytes, std::byte{3});
  std::vector<std::byte> back(kBytes);
  device.copy_in(buffer.data(), source.data(), kBytes);
  device.copy_out(back.data(), buffer.data(), kBytes);
  CHECK(back == source);
  CHECK(device.huge_bytes(buffer.data()) >= 0);  // this system has /proc
  CHECK(device.huge_bytes(source.data()) == -1);
}

TEST_CASE("time is that of the work") {
  HostDevice device;
  const double seconds =
      device.timed([] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
  CHECK(seconds >= 0.02);
  CHECK(seconds < 10.0);
}

TEST_CASE("probes say what they ran and how fast") {
  HostDevice device;
  ContextOptions options;
  options.num_threads = 2;
  Context context;
  REQUIRE(Context::create(options, context).ok());
  constexpr size_t kBytes = size_t{4} << 20;
  const DeviceBuffer buffer(device, kBytes);
  std::memset(buffer.data(), 1, kBytes);
  const auto read = device.read_probe({buffer.data(), kBytes}, 1 << 20, context);
  const auto multiply = device.multiply_probe(context, DType::kF32);
  for (int i = 0; i < 3; ++i) {
    CHECK(read->run() > 1e7);
    CHECK(multiply->run() > 1e7);
  }
  CHECK_FALSE(read->name().empty());
  CHECK(multiply->name() == "f32 FMA");
}

}  // namespace
}  // namespace attnrt::perf
