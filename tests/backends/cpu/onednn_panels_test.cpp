// SPDX-License-Identifier: Apache-2.0
// oneDNN's products against plain loops, and what they must leave alone. Attention by them is
// tested where every ISA is.
#include "backends/cpu/onednn_panels.hpp"

#include <doctest/doctest.h>
#include <omp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "attnrt/tensor.hpp"
#include "backends/cpu/dispatch.hpp"
#include "backends/cpu/kernels/kernel_table.hpp"
#include "backends/cpu/panel_source.hpp"
#include "tests/support/check.hpp"

namespace attnrt::cpu {
namespace {

// Whether this machine runs the table at all.
bool runs_here() {
  const KernelTable* table = nullptr;
  const Status status = resolve_table("onednn", table);
  if (!status.ok()) MESSAGE("skipped: ", status.message());
  return status.ok();
}

// The bits of x as an element of the dtype, and what they stand for.
struct Element {
  std::array<std::byte, 4> bits{};
  float value = 0.0f;

  Element(DType dtype, float x) : value(dtype == DType::kF32 ? x : bf16_to_f32(f32_to_bf16(x))) {
    const uint16_t half = f32_to_bf16(x);
    std::memcpy(bits.data(), dtype == DType::kF32 ? static_cast<const void*>(&x) : &half,
                static_cast<size_t>(size_of(dtype)));
  }
};

// Random A and B of one product, and C in double precision.
struct Matrices {
  DType dtype;
  int32_t steps, columns;
  std::vector<std::byte> a;
  std::vector<float> a_values, b_values;

  Matrices(DType type, int32_t num_steps, int32_t num_columns)
      : dtype(type),
        steps(num_steps),
        columns(num_columns),
        a(static_cast<size_t>(kPanelRows * steps * size_of(type))) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    const auto size = static_cast<size_t>(size_of(dtype));
    for (size_t i = 0; i < static_cast<size_t>(kPanelRows * steps); ++i) {
      const Element x(dtype, normal(random));
      std::memcpy(a.data() + i * size, x.bits.data(), size);
      a_values.push_back(x.value);
    }
    for (int32_t i = 0; i < steps * columns; ++i) {
      b_values.push_back(Element(dtype, normal(random)).value);
    }
  }

  // B as lines: 16 columns at a step, or turn about at two.
  void put_b(const PanelProduct& product) const {
    const int32_t of_line = dtype == DType::kF32 ? 1 : 2;
    const int64_t size = size_of(dtype);
    for (int32_t step = 0; step < steps; ++step) {
      for (int32_t column = 0; column < columns; ++column) {
        const int32_t line = product.line_at[step / of_line * (columns / 16) + column / 16];
        const Element x(dtype, b_values[static_cast<size_t>(step * columns + column)]);
        const int64_t in_line = column % 16 * of_line + step % of_line;
        std::memcpy(product.b + line * int64_t{kPanelLineBytes} + in_line * size, x.bits.data(),
                    static_cast<size_t>(size));
      }
    }
  }

  [[nodiscard]] double worst(const std::vector<float>& c) const {
    double most = 0.0;
    for (int32_t row = 0; row < kPanelRows; ++row) {
      for (int32_t column = 0; column < columns; ++column) {
        double sum = 0.0;
        for (int32_t step = 0; step < steps; ++step) {
          sum += double{a_values[static_cast<size_t>(row * steps + step)]} *
                 b_values[static_cast<size_t>(step * columns + column)];
        }
        most = std::max(most, std::abs(sum - c[static_cast<size_t>(row * columns + column)]));
      }
    }
    return most;
  }

  [[nodiscard]] std::vector<float> multiply(const PanelProduct& product) const {
    std::vector<float> c(static_cast<size_t>(kPanelRows * columns), 7.0f);
    product.multiply(product.call, a.data(), c.data());
    return c;
  }
};

int64_t threads_of_process() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

TEST_CASE("both products agree with plain loops, for every padding that oneDNN may want") {
  if (!runs_here()) return;
  const std::unique_ptr<PanelSource> source(make_onednn_panels());
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int32_t dim : {16, 48, 64, 80, 128, 256, 576}) {
      const int32_t dim_v = dim == 576 ? 512 : dim;
      CAPTURE(to_string(dtype));
      CAPTURE(dim);
      REQUIRE(source->prepare({dtype, dim, dim_v}, 2).ok());
      for (const int32_t worker : {0, 1}) {
        const PanelProducts& panels = *source->of_worker(worker);
        const Matrices keys(dtype, dim, kBlockKeys);
        keys.put_b(panels.scores);
        CHECK(keys.worst(keys.multiply(panels.scores)) < 1e-3);
        const Matrices values(dtype, kBlockKeys, dim_v);
        values.put_b(panels.values);
        CHECK(values.worst(values.multiply(panels.values)) < 1e-3);
      }
      CHECK(source->result().ok());
    }
  }
}

TEST_CASE("a row's products do not depend on the rows beside it, nor on its place") {
  if (!runs_here()) return;
  const std::unique_ptr<PanelSource> source(make_onednn_panels());
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    REQUIRE(source->prepare({dtype, 128, 128}, 1).ok());
    const PanelProduct& product = source->of_worker(0)->scores;
    Matrices m(dtype, 128, kBlockKeys);
    m.put_b(product);
    const std::vector<float> before = m.multiply(product);
    const auto row_bytes = static_cast<ptrdiff_t>(m.a.size()) / kPanelRows;
    std::rotate(m.a.begin(), m.a.begin() + 5 * row_bytes, m.a.end());
    const std::vector<float> after = m.multiply(product);
    for (size_t row = 0; row < kPanelRows; ++row) {
      const size_t from = (row + 5) % kPanelRows * kBlockKeys;
      CHECK(std::memcmp(&after[row * kBlockKeys], &before[from], kBlockKeys * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("products run on the calling thread, whose OpenMP setting stays as it was") {
  if (!runs_here()) return;
  const int before = omp_get_max_threads();
  omp_set_num_threads(4);
  const std::unique_ptr<PanelSource> source(make_onednn_panels());
  const int64_t threads = threads_of_process();
  REQUIRE(source->prepare({DType::kF32, 576, 512}, 1).ok());
  const PanelProduct& product = source->of_worker(0)->scores;
  const Matrices m(DType::kF32, 576, kBlockKeys);
  m.put_b(product);
  for (int i = 0; i < 100; ++i) CHECK(m.multiply(product).front() != 7.0f);
  CHECK(threads_of_process() == threads);
  CHECK(omp_get_max_threads() == 4);
  std::promise<void> end;
  std::thread seen([wait = end.get_future()] { wait.wait(); });
  CHECK(threads_of_process() == threads + 1);
  end.set_value();
  seen.join();
  omp_set_num_threads(before);
}

TEST_CASE("a shape is made once, and eight are kept") {
  if (!runs_here()) return;
  const std::unique_ptr<PanelSource> source(make_onednn_panels());
  REQUIRE(source->prepare({DType::kF32, 16, 16}, 1).ok());
  const PanelProducts* first = source->of_worker(0);
  for (int32_t dim = 32; dim <= 8 * 16; dim += 16) {
    REQUIRE(source->prepare({DType::kF32, dim, 16}, 1).ok());
    CHECK(source->of_worker(0) != first);
  }
  REQUIRE(source->prepare({DType::kF32, 16, 16}, 3).ok());
  CHECK(source->of_worker(0) == first);
  CHECK(source->of_worker(2)->scores.b != first->scores.b);
  REQUIRE(source->prepare({DType::kF32, 16, 32}, 1).ok());
  REQUIRE(source->prepare({DType::kF32, 16, 16}, 1).ok());
  const Matrices m(DType::kF32, 16, kBlockKeys);
  m.put_b(source->of_worker(0)->scores);
  CHECK(m.worst(m.multiply(source->of_worker(0)->scores)) < 1e-3);
}

// This program again, with a oneDNN that must not use AVX-512, running the case below.
TEST_CASE("bf16 is refused where oneDNN cannot multiply it, f32 is not") {
  if (!runs_here()) return;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    setenv("DNNL_MAX_CPU_ISA", "AVX2", 1);    // oneDNN 2
    setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1);  // oneDNN 3
    execl(self.c_str(), self.c_str(), "--test-case=child: oneDNN without bf16", "--no-skip=true",
          "--out=/dev/null", nullptr);
    _exit(1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("child: oneDNN without bf16" * doctest::skip()) {
  Context context = test::cpu_context("onednn", 1);
  test::ProblemShape shape;
  shape.spec = {.num_heads_q = 4, .num_heads_kv = 2, .head_dim = 64, .causal = true};
  shape.sequences = {{70, 300}};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    shape.q_dtype = shape.kv_dtype = dtype;
    const test::Problem problem(shape);
    test::Output output = problem.make_output();
    Plan plan;
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    const Status status = attend(context, plan, problem.args(output));
    CHECK(status.code() == (dtype == DType::kF32 ? Code::kOk : Code::kUnsupported));
    CHECK((status.message().find("oneDNN") == 0) == !status.ok());
    CHECK((status.message().find("bf16") != std::string::npos) == !status.ok());
  }
}

}  // namespace
}  // namespace attnrt::cpu
