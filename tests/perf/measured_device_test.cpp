// SPDX-License-Identifier: Apache-2.0
#include "perf/measured_device.hpp"

#include <doctest/doctest.h>

#include <utility>
#include <vector>

#include "perf/host_device.hpp"
#include "perf/random_fill.hpp"
#include "tests/perf/stand_in_device.hpp"

namespace attnrt::perf {
namespace {

TEST_CASE("a buffer gives its memory back once, wherever it was moved") {
  StandInDevice device;  // its end checks that nothing is left
  DeviceBuffer a(device, 100);
  CHECK(device.has(a.data(), 100));
  DeviceBuffer b = std::move(a);
  a = DeviceBuffer(device, 7);
  CHECK(b.size() == 100);
  b = std::move(a);
  CHECK(b.size() == 7);
  DeviceBuffer none;
  CHECK(none.data() == nullptr);
}

TEST_CASE(
    "memory that the program must not touch is filled through copies, with the same numbers") {
  StandInDevice device;
  HostDevice host;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    constexpr int64_t kElements = 1000;
    const auto bytes = static_cast<size_t>(kElements * size_of(dtype));
    const DeviceBuffer there(device, bytes);
    const DeviceBuffer here(host, bytes);
    device.copied_in = 0;
    fill_random(device, there.data(), dtype, kElements, 5);
    fill_random(host, here.data(), dtype, kElements, 5);
    CHECK(device.copied_in == bytes);
    std::vector<std::byte> back(bytes);
    device.copy_out(back.data(), there.data(), bytes);
    CHECK(std::memcmp(back.data(), here.data(), bytes) == 0);
  }
}

}  // namespace
}  // namespace attnrt::perf
