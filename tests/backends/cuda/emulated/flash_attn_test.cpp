// SPDX-License-Identifier: Apache-2.0
// FlashAttention-shaped calls on tensors of the emulated device, beside the same calls on the CPU.
#include "attnrt/flash_attn.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/backends/cuda/cuda_shapes.hpp"
#include "tests/backends/cuda/device/device_mirror.hpp"
#include "tests/support/check.hpp"
#include "tests/support/cuda/emulated_device.hpp"

namespace attnrt::test {
namespace {

constexpr int32_t kBatch = 2;
constexpr int32_t kSlots = 40;  // of each sequence's row of the cache
constexpr int32_t kTokens = 3;  // queries and new keys of each
constexpr int32_t kHeads = 4;
constexpr int32_t kHeadsKv = 2;
constexpr int32_t kDim = 64;

std::vector<uint16_t> numbers(size_t count, uint64_t stream) {
  std::vector<uint16_t> made(count);
  for (size_t i = 0; i < count; ++i) {
    made[i] = f32_to_bf16(static_cast<float>(hashed(5, stream, static_cast<int64_t>(i), 0)));
  }
  return made;
}

// A decode step with everything that it can bring along, on the CPU or a device.
struct Step {
  std::vector<uint16_t> q = numbers(size_t{kBatch} * kTokens * kHeads * kDim, 1);
  std::vector<uint16_t> k = numbers(size_t{kBatch} * kTokens * kHeadsKv * kDim, 2);
  std::vector<uint16_t> v = numbers(size_t{kBatch} * kTokens * kHeadsKv * kDim, 3);
  std::vector<uint16_t> cache_k = numbers(size_t{kBatch} * kSlots * kHeadsKv * kDim, 4);
  std::vector<uint16_t> cache_v = numbers(size_t{kBatch} * kSlots * kHeadsKv * kDim, 5);
  std::vector<uint16_t> out = std::vector<uint16_t>(q.size(), 0);
  std::vector<float> cos, sin;
  std::vector<int32_t> used = {17, 30};
  DeviceMirror mirror;
  FlashAttnKvCacheArgs args;

  explicit Step(Device device) {
    for (int32_t i = 0; i < kSlots * kDim / 2; ++i) {
      const float angle = 0.03f * static_cast<float>(i);
      cos.push_back(std::cos(angle));
      sin.push_back(std::sin(angle));
    }
    const auto at = [&](auto& list) {
      return device == Device::kCpu ? list.data()
                                    : mirror.in(list.data(), list.size() * sizeof list[0]);
    };
    const auto tensor = [&](const void* data, int32_t heads) {
      ConstTensorView view = dense_tensor(data, DType::kBF16, kBatch * kTokens, heads, kDim);
      view.device = device;
      return view;
    };
    args.q = tensor(at(q), kHeads);
    args.k = tensor(at(k), kHeadsKv);
    args.v = tensor(at(v), kHeadsKv);
    args.out =
        dense_tensor(static_cast<void*>(at(out)), DType::kBF16, kBatch * kTokens, kHeads, kDim);
    args.kv_cache = KvView::paged(at(cache_k), at(cache_v), DType::kBF16, KvLayout::kNHD, kBatch,
                                  kSlots, kHeadsKv, kDim);
    args.out.device = args.kv_cache.device = device;
    args.batch_size = kBatch;
    args.cache_seqlens = used;
    args.rotary_cos = at(cos);
    args.rotary_sin = at(sin);
    args.rotary_seqlen = kSlots;
    args.rotary_dim = kDim;
    args.causal = true;
  }
  void bring_back() {
    mirror.out(out.data());
    mirror.out(cache_k.data());
    mirror.out(cache_v.data());
    REQUIRE(take_device_failure() == "");
  }
};

}  // namespace

TEST_SUITE("FlashAttention's calls on a device") {
  TEST_CASE("append, rotate, attend: the cache's bits are the CPU's, results within rounding") {
    for (const bool causal : {true, false}) {
      Step host(Device::kCpu);
      Step device(Device::kCuda);
      host.args.causal = device.args.causal = causal;
      Context context;
      REQUIRE(flash_attn_with_kvcache(context, host.args).message() == "");
      const int64_t launches = device_counts().launches;
      REQUIRE(flash_attn_with_kvcache(context, device.args).message() == "");
      CHECK(device_counts().launches > launches);
      device.bring_back();
      CHECK(device.cache_k == host.cache_k);
      CHECK(device.cache_v == host.cache_v);
      for (size_t i = 0; i < host.out.size(); ++i) {
        CHECK(std::abs(bf16_to_f32(host.out[i]) - bf16_to_f32(device.out[i])) < 0.01f);
      }
    }
  }

  TEST_CASE("positions that are not one are refused by name, and nothing is written") {
    Step step(Device::kCuda);
    const std::vector<int32_t> leftpad = {0, 2};
    step.args.cache_leftpad = leftpad;
    Context context;
    const Status status = flash_attn_with_kvcache(context, step.args);
    CHECK(status.code() == Code::kUnsupported);
    CHECK(status.message().find("queries of sequence 1 are rotated from cache_seqlens on, 30, and "
                                "attend from 28 on") != std::string::npos);
    const std::vector<uint16_t> before = step.cache_k;
    step.bring_back();
    CHECK(step.cache_k == before);
    step.args.rotary_cos = step.args.rotary_sin = nullptr;
    step.args.rotary_dim = step.args.rotary_seqlen = 0;
    CHECK(flash_attn_with_kvcache(context, step.args).message() == "");
  }

  TEST_CASE("packed sequences") {
    ProblemShape shape = causal_shape(DType::kBF16, 64, {{33, 70}, {1, 600}});
    shape.layout = KvLayout::kPacked;
    const Problem problem(shape);
    Output output = problem.make_output();
    DeviceMirror mirror;
    const AttendArgs attend_args = device_args(problem, output, mirror);
    FlashAttnVarlenArgs args;
    args.q = attend_args.q;
    args.kv = attend_args.kv;
    args.out = attend_args.out;
    args.softmax_lse = attend_args.lse;
    args.cu_seqlens_q = problem.batch().cu_seqlens_q;
    args.cu_seqlens_k = problem.batch().cu_seqlens_k;
    args.causal = true;
    Context context;
    REQUIRE(flash_attn_varlen(context, args).message() == "");
    mirror.out(output.bytes.data());
    mirror.out(output.lse.data());
    REQUIRE(take_device_failure() == "");
    CHECK(check_close(problem, expect(problem), output, reference::Weights::kBFloat16) == "");
  }
}

}  // namespace attnrt::test
