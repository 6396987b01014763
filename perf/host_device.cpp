// SPDX-License-Identifier: Apache-2.0
#include "perf/host_device.hpp"

#include <algorithm>
#include <cstring>

#include "perf/cache_info.hpp"
#include "perf/environment.hpp"
#include "perf/multiply_probe.hpp"
#include "perf/noise.hpp"
#include "perf/probe_dispatch.hpp"
#include "perf/products.hpp"
#include "perf/read_probe.hpp"

namespace attnrt::perf {
namespace {

class HostRead final : public RateProbe {
 public:
  HostRead(ProbeTeam& team, std::span<const std::byte> memory, int64_t slice_bytes)
      : probe_(team, memory, slice_bytes) {
    probe_.choose_variant();
  }
  double run() override { return probe_.run(); }
  [[nodiscard]] std::string_view name() const override { return probe_.variant(); }

 private:
  ReadProbe probe_;
};

class HostMultiply final : public RateProbe {
 public:
  HostMultiply(ProbeTeam& team, const MultiplyLoop& loop) : loop_(loop), probe_(team, loop) {}
  double run() override { return probe_.run(); }
  [[nodiscard]] std::string_view name() const override { return loop_.name; }

 private:
  const MultiplyLoop& loop_;
  MultiplyProbe probe_;
};

}  // namespace

std::string HostDevice::name() const { return cpu_name(); }

int64_t HostDevice::cache_bytes() const { return last_level_cache_bytes(); }

int64_t HostDevice::free_bytes() const { return memory_room_bytes(); }

std::byte* HostDevice::allocate(size_t bytes) {
  HugeBuffer buffer(std::max<size_t>(bytes, 1));  // an address of its own
  std::byte* const data = buffer.data();
  buffers_.emplace(data, std::move(buffer));
  return data;
}

void HostDevice::copy_in(std::byte* target, const void* source, size_t bytes) {
  std::memcpy(target, source, bytes);
}

void HostDevice::copy_out(void* target, const std::byte* source, size_t bytes) {
  std::memcpy(target, source, bytes);
}

double HostDevice::timed(const std::function<void()>& work) {
  const double begin = steady_seconds();
  work();
  return steady_seconds() - begin;
}

int64_t HostDevice::huge_bytes(const std::byte* data) const {
  const auto found = buffers_.find(data);
  return found == buffers_.end() ? -1 : found->second.huge_bytes();
}

ProbeTeam& HostDevice::team(int32_t num_threads) {
  if (team_ == nullptr || team_->num_threads() != num_threads) {
    team_ = std::make_unique<ProbeTeam>(num_threads);
  }
  return *team_;
}

std::unique_ptr<RateProbe> HostDevice::read_probe(std::span<const std::byte> memory,
                                                  int64_t slice_bytes, const Context& context) {
  return std::make_unique<HostRead>(team(context.num_threads()), memory, slice_bytes);
}

std::unique_ptr<RateProbe> HostDevice::multiply_probe(const Context& context, DType dtype) {
  const Products products = products_of(context.isa(), Arithmetic::kFastest, dtype);
  return std::make_unique<HostMultiply>(team(context.num_threads()),
                                        multiply_loop(context.isa(), products));
}

}  // namespace attnrt::perf
