// SPDX-License-Identifier: Apache-2.0
// This machine's CPUs and memory, as the CPU and the reference backend use them.
#pragma once

#include <map>

#include "perf/huge_buffer.hpp"
#include "perf/measured_device.hpp"
#include "perf/probe_team.hpp"

namespace attnrt::perf {

/// Memory on huge pages where the system gives them; probes on threads that stay for the next one.
class HostDevice final : public MeasuredDevice {
 public:
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] Device device() const override { return Device::kCpu; }
  [[nodiscard]] bool host_memory() const override { return true; }
  [[nodiscard]] int64_t cache_bytes() const override;
  [[nodiscard]] int64_t free_bytes() const override;
  std::byte* allocate(size_t bytes) override;
  void release(std::byte* data) noexcept override { buffers_.erase(data); }
  void copy_in(std::byte* target, const void* source, size_t bytes) override;
  void copy_out(void* target, const std::byte* source, size_t bytes) override;
  double timed(const std::function<void()>& work) override;
  [[nodiscard]] int64_t huge_bytes(const std::byte* data) const override;
  std::unique_ptr<RateProbe> read_probe(std::span<const std::byte> memory, int64_t slice_bytes,
                                        const Context& context) override;
  std::unique_ptr<RateProbe> multiply_probe(const Context& context, DType dtype) override;

 private:
  // All probes that are alive want the same number of threads.
  ProbeTeam& team(int32_t num_threads);

  std::map<const std::byte*, HugeBuffer> buffers_;
  std::unique_ptr<ProbeTeam> team_;
};

}  // namespace attnrt::perf
