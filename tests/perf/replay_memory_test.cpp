// SPDX-License-Identifier: Apache-2.0
#include "perf/replay_memory.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "perf/host_device.hpp"
#include "tests/perf/stand_in_device.hpp"

namespace attnrt::perf {
namespace {

ReplayOptions made_options() {
  ReplayOptions options;
  ShapeNumbers shape;
  shape.heads = "4/2";
  shape.head_dim = 32;
  shape.head_dim_v = 16;
  options.model = custom_model(shape);
  options.layers = 2;
  options.scheduling.page_size = 8;
  options.scheduling.num_pages = 5;
  return options;
}

TEST_CASE("on the host a shared buffer is one piece of memory") {
  HostDevice device;
  SharedBuffer buffer(device, 10);
  CHECK(buffer.host() == buffer.data());
  buffer.host()[3] = std::byte{7};
  buffer.to_device(10);
  buffer.to_host(10);
  CHECK(buffer.data()[3] == std::byte{7});
}

TEST_CASE("on a device it is two, and bytes go where they are sent") {
  StandInDevice device;
  SharedBuffer buffer(device, 10);
  CHECK(device.has(buffer.data(), 10));
  CHECK_FALSE(device.has(buffer.host(), 10));
  std::memset(buffer.host(), 7, 10);
  buffer.to_device(4);
  CHECK(buffer.data()[3] == std::byte{7});
  CHECK(buffer.data()[4] == std::byte{0xff});
  buffer.data()[0] = std::byte{9};
  buffer.to_host(1);
  CHECK(buffer.host()[0] == std::byte{9});
  CHECK(buffer.host()[1] == std::byte{7});
}

TEST_CASE("floats are on both sides") {
  StandInDevice device;
  const std::vector<float> values = {1.0f, 2.0f};
  const SharedFloats floats(device, values);
  CHECK(device.has(floats.data().data(), 8));
  CHECK(std::vector<float>(floats.data().begin(), floats.data().end()) == values);
  CHECK(std::vector<float>(floats.host().begin(), floats.host().end()) == values);
  CHECK(SharedFloats(device, {}).data().empty());
}

TEST_CASE("every layer has K and V of its own, where calls find them") {
  ReplayOptions options = made_options();
  for (const KvLayout layout : {KvLayout::kNHD, KvLayout::kHND}) {
    options.layout = layout;
    StandInDevice device(Device::kCuda);
    ReplayCaches caches(options, device);
    constexpr size_t kKeys = 5 * 8;
    for (const int32_t layer : {0, 1}) {
      const KvView view = caches.view(layer);
      CHECK(view.device == Device::kCuda);
      CHECK(view.layout == layout);
      CHECK(view.num_pages == 5);
      CHECK(device.has(view.k, kKeys * 2 * 32 * 2));
      CHECK(device.has(view.v, kKeys * 2 * 16 * 2));
    }
    CHECK(caches.view(0).k != caches.view(1).k);
    CHECK(caches.touched().empty());
    caches.touch_pages(3);  // no memory of a device is touched by the program
    CHECK(caches.touched().data() == caches.view(0).k);
    CHECK(caches.touched().size() == 3 * 8 * 2 * 32 * 2);
    CHECK(*static_cast<const std::byte*>(caches.view(0).k) == std::byte{0xff});
    CHECK(caches.huge_bytes() == -1);
  }
}

TEST_CASE("on the host pages are zeroed when they are first used, and then left alone") {
  const ReplayOptions options = made_options();
  HostDevice device;
  ReplayCaches caches(options, device);
  caches.touch_pages(2);
  auto* k = static_cast<std::byte*>(caches.view(1).k);
  k[0] = std::byte{1};
  caches.touch_pages(4);
  CHECK(k[0] == std::byte{1});
  CHECK(caches.huge_bytes() >= 0);  // this system has /proc
}

}  // namespace
}  // namespace attnrt::perf
