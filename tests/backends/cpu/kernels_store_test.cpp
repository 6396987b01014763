// SPDX-License-Identifier: Apache-2.0
// The kernels that are not attention: storing rows into a cache, merging finished results.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/backends/cpu/kernel_case.hpp"

namespace attnrt::test {
namespace {

constexpr DType kDTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

struct Rotation {
  int32_t dim;
  bool interleaved;
  DType dtype;
};

// Two heads of one token, with gaps between heads that must stay as they are.
void check_store(DType from, DType to, int32_t dim, const Rotation& rotation) {
  constexpr int32_t kPosition = 4;
  const int32_t stride = dim + 3;
  const int32_t pairs = rotation.dim / 2;
  GuardedBuffer src(static_cast<size_t>((stride + dim) * size_of(from)));
  GuardedBuffer dst(static_cast<size_t>((stride + dim) * size_of(to)));
  GuardedBuffer cos(static_cast<size_t>((kPosition + 1) * pairs * size_of(rotation.dtype)));
  GuardedBuffer sin(static_cast<size_t>((kPosition + 1) * pairs * size_of(rotation.dtype)));
  std::vector<float> scratch(static_cast<size_t>(dim));
  for (int32_t i = 0; i < stride + dim; ++i) {
    put(from, src.data(), i, 0.37 * i - 3.0);
    put(to, dst.data(), i, -77.0);
  }
  for (int32_t i = 0; i < (kPosition + 1) * pairs; ++i) {
    put(rotation.dtype, cos.data(), i, std::cos(0.3 * i));
    put(rotation.dtype, sin.data(), i, std::sin(0.3 * i));
  }
  const RotaryView view{cos.data(),    sin.data(),   rotation.dtype,
                        kPosition + 1, rotation.dim, rotation.interleaved};
  const cpu::StoreTask task{src.data(),
                            from,
                            stride,
                            dst.data(),
                            to,
                            stride,
                            2,
                            dim,
                            rotation.dim > 0 ? &view : nullptr,
                            kPosition,
                            scratch.data()};
  std::vector<double> want;
  for (int32_t i = 0; i < stride + dim; ++i) want.push_back(get(from, src.data(), i));
  for (int32_t d = dim; d < stride; ++d) want[static_cast<size_t>(d)] = -77.0;
  for (int32_t head = 0; head < 2; ++head) {
    for (int32_t i = 0; i < pairs; ++i) {
      double* row = want.data() + head * stride;
      double& x = row[rotation.interleaved ? 2 * i : i];
      double& y = row[rotation.interleaved ? 2 * i + 1 : i + pairs];
      const double c = get(rotation.dtype, cos.data(), kPosition * pairs + i);
      const double s = get(rotation.dtype, sin.data(), kPosition * pairs + i);
      const double a = x;
      x = a * c - y * s;
      y = y * c + a * s;
    }
  }
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    table->store(task);
    double worst = 0.0;
    for (int32_t i = 0; i < stride + dim; ++i) {
      const double x = want[static_cast<size_t>(i)];
      const double unit = to == DType::kF32 ? 0x1p-21 : to == DType::kBF16 ? 0x1p-8 : 0x1p-11;
      const double bound = 1e-5 + 1.01 * unit * std::abs(x);
      worst = std::max(worst, std::abs(get(to, dst.data(), i) - x) / bound);
    }
    CHECK(worst <= 1.0);
  }
}

TEST_CASE("rows are stored in every dtype, rotated or not, and nothing beside them") {
  for (const DType from : kDTypes) {
    for (const DType to : kDTypes) {
      for (const int32_t dim : {1, 7, 16, 40, 64, 129}) {
        check_store(from, to, dim, {0, false, DType::kF32});
        if (dim < 16) continue;
        check_store(from, to, dim, {dim / 2 * 2, false, kDTypes[dim % 3]});
        check_store(from, to, dim, {dim / 4 * 2, true, kDTypes[dim % 3]});
      }
    }
  }
}

// Three results of which the second is empty, with garbage in place of its out.
TEST_CASE("finished results merge by their lse; an empty one is neutral") {
  constexpr int32_t kHeads = 2;
  constexpr int32_t kTokens = 2;
  for (const int32_t dim : {5, 24}) {
    for (const float sink : {-INFINITY, 0.5f, 200.0f}) {
      std::vector<std::vector<float>> outs(3);
      std::vector<std::vector<float>> lses(3);
      std::vector<StateView> states;
      for (int n = 0; n < 3; ++n) {
        for (int i = 0; i < kTokens * kHeads * dim; ++i) {
          outs[static_cast<size_t>(n)].push_back(
              n == 1 ? NAN : std::sin(3.1f * static_cast<float>(i + n)));
        }
        for (int i = 0; i < kTokens * kHeads; ++i) {
          lses[static_cast<size_t>(n)].push_back(n == 1 ? -INFINITY
                                                        : 0.7f * static_cast<float>(i - n));
        }
        states.push_back(
            {dense_tensor(static_cast<const void*>(outs[static_cast<size_t>(n)].data()),
                          DType::kF32, kTokens, kHeads, dim),
             lses[static_cast<size_t>(n)].data()});
      }
      GuardedBuffer out(static_cast<size_t>(kHeads * dim) * sizeof(float));
      std::vector<float> lse(kHeads);
      std::vector<float> scratch(static_cast<size_t>(dim));
      const std::vector<float> sinks(kHeads, sink);
      cpu::MergeStatesTask task{states.data(), 3, 1, kHeads, dim, kTokens, {}, scratch.data()};
      task.out.out = out.data();
      task.out.dtype = DType::kF32;
      task.out.head_stride = dim;
      task.out.lse = lse.data();
      task.out.lse_head_stride = 1;
      task.out.sinks = sinks.data();
      task.out.scale = 1.0f;
      for (const cpu::KernelTable* table : runnable_tables()) {
        CAPTURE(std::string(table->name));
        table->merge_states(task);
        for (int head = 0; head < kHeads; ++head) {
          const auto at = static_cast<size_t>(head * kTokens + 1);
          const double a = std::exp(double{lses[0][at]});
          const double b = std::exp(double{lses[2][at]});
          const double sum = a + b + std::exp(double{sink});
          CHECK(lse[static_cast<size_t>(head)] == doctest::Approx(std::log(sum)));
          for (int d = 0; d < dim; ++d) {
            const auto i = static_cast<size_t>((kHeads + head) * dim + d);
            const double want = (a * outs[0][i] + b * outs[2][i]) / sum;
            CHECK(get(DType::kF32, out.data(), head * dim + d) == doctest::Approx(want));
          }
        }
        task.states = states.data() + 1;
        task.num_states = 1;
        table->merge_states(task);
        CHECK(lse[0] == sink);
        CHECK(get(DType::kF32, out.data(), 0) == 0.0);
        task.states = states.data();
        task.num_states = 3;
      }
    }
  }
}

}  // namespace
}  // namespace attnrt::test
