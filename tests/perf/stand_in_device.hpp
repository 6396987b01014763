// SPDX-License-Identifier: Apache-2.0
// A device whose memory the program must not touch, made of host memory that the CPU backend can
// run on: what a GPU is to the commands, without one.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "perf/measured_device.hpp"
#include "perf/noise.hpp"

namespace attnrt::perf {

class StandInDevice final : public MeasuredDevice {
 public:
  static constexpr double kReadRate = 3e9;
  static constexpr double kMultiplyRate = 5e12;

  /// `marked` is what tensors say; the CPU backend runs those that say kCpu only.
  explicit StandInDevice(Device marked = Device::kCpu) : marked_(marked) {}
  ~StandInDevice() override { CHECK(blocks_.empty()); }

  [[nodiscard]] std::string name() const override { return "stand-in"; }
  [[nodiscard]] Device device() const override { return marked_; }
  [[nodiscard]] bool host_memory() const override { return false; }
  [[nodiscard]] int64_t cache_bytes() const override { return 1 << 16; }
  [[nodiscard]] int64_t free_bytes() const override { return int64_t{1} << 30; }

  std::byte* allocate(size_t bytes) override {
    auto* data = static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 64) / 64 * 64));
    std::memset(data, 0xff, bytes);  // NaN in every dtype
    blocks_[data] = bytes;
    return data;
  }
  void release(std::byte* data) noexcept override {
    CHECK(blocks_.erase(data) == 1);
    std::free(data);
  }
  void copy_in(std::byte* target, const void* source, size_t bytes) override {
    CHECK(has(target, bytes));
    std::memcpy(target, source, bytes);
    copied_in += bytes;
  }
  void copy_out(void* target, const std::byte* source, size_t bytes) override {
    CHECK(has(source, bytes));
    std::memcpy(target, source, bytes);
  }
  double timed(const std::function<void()>& work) override {
    ++timed_regions;
    const double begin = steady_seconds();
    work();
    return steady_seconds() - begin;
  }
  [[nodiscard]] int64_t huge_bytes(const std::byte*) const override { return -1; }

  std::unique_ptr<RateProbe> read_probe(std::span<const std::byte> memory, int64_t slice_bytes,
                                        const Context&) override {
    CHECK(has(memory.data(), memory.size()));
    CHECK(slice_bytes <= static_cast<int64_t>(memory.size()));
    return std::make_unique<Fixed>(kReadRate, "loads");
  }
  std::unique_ptr<RateProbe> multiply_probe(const Context&, DType) override {
    return std::make_unique<Fixed>(kMultiplyRate, "products");
  }

  /// All of [data, data + bytes) is of one allocation.
  [[nodiscard]] bool has(const void* data, size_t bytes) const {
    const auto* begin = static_cast<const std::byte*>(data);
    auto after = blocks_.upper_bound(begin);
    if (after == blocks_.begin()) return false;
    --after;
    return begin + bytes <= after->first + after->second;
  }

  int64_t timed_regions = 0;
  size_t copied_in = 0;

 private:
  class Fixed final : public RateProbe {
   public:
    Fixed(double rate, std::string_view name) : rate_(rate), name_(name) {}
    double run() override { return rate_; }
    [[nodiscard]] std::string_view name() const override { return name_; }

   private:
    double rate_;
    std::string_view name_;
  };

  Device marked_;
  std::map<const std::byte*, size_t> blocks_;
};

}  // namespace attnrt::perf
