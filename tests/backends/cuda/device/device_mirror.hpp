// SPDX-License-Identifier: Apache-2.0
// Problems in host memory, run on a device: copies of their tensors there, and results back.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>
#include <vector>

#include "attnrt/attnrt.hpp"
#include "src/expr/slot_bytes.hpp"
#include "tests/support/problem.hpp"

namespace attnrt::test {

/// Device copies of host memory, freed at the end.
class DeviceMirror {
 public:
  DeviceMirror() = default;
  ~DeviceMirror() {
    for (const Copy& copy : copies_) cudaFree(copy.device);
  }
  DeviceMirror(const DeviceMirror&) = delete;
  DeviceMirror& operator=(const DeviceMirror&) = delete;

  /// Null for null or nothing.
  template <class T>
  T* in(T* host, size_t bytes) {
    if (host == nullptr || bytes == 0) return nullptr;
    Copy copy{const_cast<std::byte*>(reinterpret_cast<const std::byte*>(host)), nullptr, bytes};
    failed_ = failed_ || cudaMalloc(&copy.device, bytes) != cudaSuccess;
    failed_ =
        failed_ || cudaMemcpy(copy.device, host, bytes, cudaMemcpyHostToDevice) != cudaSuccess;
    copies_.push_back(copy);
    return static_cast<T*>(copy.device);
  }

  /// The same values, tables on the device. The list is good until the next call.
  std::span<const expr::SlotValue> values(std::span<const expr::SlotValue> host) {
    values_.assign(host.begin(), host.end());
    for (expr::SlotValue& value : values_) {
      value.data = in(value.data, expr::table_bytes(value));
    }
    return values_;
  }

  /// Everything written on the device so far, into the host memory that `host` was made from.
  void out(void* host) {
    failed_ = failed_ || cudaDeviceSynchronize() != cudaSuccess;
    for (const Copy& copy : copies_) {
      if (copy.host != host) continue;
      failed_ = failed_ ||
                cudaMemcpy(host, copy.device, copy.bytes, cudaMemcpyDeviceToHost) != cudaSuccess;
    }
  }
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  struct Copy {
    std::byte* host;
    void* device;
    size_t bytes;
  };
  std::vector<Copy> copies_;
  std::vector<expr::SlotValue> values_;
  bool failed_ = false;
};

/// The arguments of a problem with all tensors on the device.
inline AttendArgs device_args(const Problem& problem, Output& output, DeviceMirror& mirror) {
  AttendArgs args = problem.args(output);
  const auto element = static_cast<size_t>(size_of(args.q.dtype));
  args.q.data =
      mirror.in(args.q.data, static_cast<size_t>(args.q.shape[0] * args.q.strides[0]) * element);
  KvView& kv = args.kv;
  const auto units =
      static_cast<size_t>(kv.layout == KvLayout::kPacked ? kv.num_tokens : kv.num_pages);
  const auto bytes = [&](const KvStrides& strides) {
    return units *
           static_cast<size_t>(kv.layout == KvLayout::kPacked ? strides.token : strides.page) *
           static_cast<size_t>(size_of(kv.dtype));
  };
  kv.k = mirror.in(kv.k, bytes(kv.k_strides));
  kv.v = mirror.in(kv.v, bytes(kv.v_strides));
  args.out.data = mirror.in(output.bytes.data(), output.bytes.size());
  args.lse.data = mirror.in(output.lse.data(), output.lse.size() * sizeof(float));
  const auto list = [&](std::span<const float> values) {
    return std::span<const float>(mirror.in(values.data(), values.size_bytes()), values.size());
  };
  args.alibi_slopes = list(args.alibi_slopes);
  args.sinks = list(args.sinks);
  RotaryView& rotary = args.rotary_q;
  const auto table_bytes = static_cast<size_t>(int64_t{rotary.max_position} * rotary.rotary_dim /
                                               2 * size_of(rotary.dtype));
  rotary.cos = mirror.in(rotary.cos, table_bytes);
  rotary.sin = mirror.in(rotary.sin, table_bytes);
  args.score_values = mirror.values(args.score_values);
  args.q.device = kv.device = args.out.device = Device::kCuda;
  return args;
}

/// Plans, attends on the device and brings the results back. Empty, or what is wrong.
inline std::string run_on_device(Context& context, const Problem& problem, Output& output,
                                 bool with_lse = true) {
  Plan plan;
  Status status = make_plan(problem.spec(), problem.batch(), plan);
  if (!status.ok()) return "make_plan: " + status.message();
  DeviceMirror mirror;
  AttendArgs args = device_args(problem, output, mirror);
  if (!with_lse) args.lse.data = nullptr;
  status = attend(context, plan, args);
  if (!status.ok()) return "attend: " + status.message();
  mirror.out(output.bytes.data());
  mirror.out(output.lse.data());
  return mirror.failed() ? std::string("CUDA: ") + cudaGetErrorString(cudaGetLastError()) : "";
}

}  // namespace attnrt::test
