// SPDX-License-Identifier: Apache-2.0
// The tensors of a replay in the memory of a device: caches of all layers, and what goes in and out
// of a step's calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "attnrt/kv_cache.hpp"
#include "perf/measured_device.hpp"
#include "perf/replay.hpp"

namespace attnrt::perf {

/// Bytes that the program and a device's calls share: the same memory on the host, else a copy on
/// each side.
class SharedBuffer {
 public:
  SharedBuffer(MeasuredDevice& device, size_t bytes);

  /// For the program.
  [[nodiscard]] std::byte* host();

  /// For calls.
  [[nodiscard]] std::byte* data() const { return buffer_.data(); }

  /// The first `bytes` to where calls read them, and back to where the program does.
  void to_device(size_t bytes);
  void to_host(size_t bytes);

 private:
  MeasuredDevice& device_;
  DeviceBuffer buffer_;
  std::vector<std::byte> host_;  // unused where the host's memory is the device's
};

/// Floats that calls read, the same all the time.
class SharedFloats {
 public:
  SharedFloats(MeasuredDevice& device, std::span<const float> values);
  [[nodiscard]] std::span<const float> host() const { return host_; }
  [[nodiscard]] std::span<const float> data() const;

 private:
  std::vector<float> host_;
  DeviceBuffer buffer_;
};

/// K and V of all layers, each in a cache of its own.
class ReplayCaches {
 public:
  ReplayCaches(const ReplayOptions& options, MeasuredDevice& device);

  [[nodiscard]] KvView view(int32_t layer) const;

  /// Pages up to `end` of all layers are about to be used. Zeroes those that were not before, where
  /// memory costs nothing until it is touched.
  void touch_pages(int32_t end);

  /// K of the touched pages of the first layer.
  [[nodiscard]] std::span<const std::byte> touched() const;

  /// Of all layers; -1 where unknown.
  [[nodiscard]] int64_t huge_bytes() const;

 private:
  struct Layer {
    DeviceBuffer k, v;
  };
  [[nodiscard]] int64_t k_columns() const;
  [[nodiscard]] int64_t v_columns() const;
  [[nodiscard]] int64_t page_bytes(int64_t columns) const;

  const ReplayOptions& options_;
  MeasuredDevice& device_;
  std::vector<Layer> layers_;
  int32_t touched_pages_ = 0;
};

}  // namespace attnrt::perf
