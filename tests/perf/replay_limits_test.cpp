// SPDX-License-Identifier: Apache-2.0
// The limit of a replay: the sum of what each call cannot go below.
#include "perf/replay_limits.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "perf/host_device.hpp"
#include "tests/perf/stand_in_device.hpp"

namespace perf = attnrt::perf;

TEST_CASE("every call has a limit of its own") {
  const perf::Rates rates{10.0, 100.0};
  const std::vector<perf::Work> calls{{20, 100}, {20, 1000}, {0, 0}};
  CHECK(perf::limit_seconds(calls, rates) == doctest::Approx(2.0 + 10.0));
  CHECK(perf::limit_seconds({}, rates) == 0.0);
}

TEST_CASE("the probes measure something on any memory of the host") {
  const std::vector<std::byte> memory(1 << 20);
  perf::HostDevice device;
  attnrt::ContextOptions options;
  options.num_threads = 2;
  attnrt::Context context;
  REQUIRE(attnrt::Context::create(options, context).ok());
  const perf::Rates rates = perf::measure_rates(device, memory, context, attnrt::DType::kF32);
  CHECK(rates.read_bytes_per_second > 1e6);
  CHECK(rates.flops_per_second > 1e6);
  const perf::Rates none = perf::measure_rates(device, {}, context, attnrt::DType::kF32);
  CHECK(none.read_bytes_per_second == 0.0);
}

TEST_CASE("memory that a device could cache has no read rate") {
  perf::StandInDevice device;
  const attnrt::Context context;
  const perf::DeviceBuffer buffer(device, size_t{33} << 20);
  const auto read_rate = [&](size_t bytes) {
    return perf::measure_rates(device, {buffer.data(), bytes}, context, attnrt::DType::kBF16)
        .read_bytes_per_second;
  };
  CHECK(read_rate(size_t{31} << 20) == 0.0);
  CHECK(read_rate(size_t{33} << 20) == perf::StandInDevice::kReadRate);
}
