// SPDX-License-Identifier: Apache-2.0
// What calls of the CUDA backend ask of the device beside their kernels: uploads, memory, waits,
// capture. On the emulated device, which works as late as it can.
#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "tests/backends/cuda/cuda_shapes.hpp"
#include "tests/backends/cuda/device/device_mirror.hpp"
#include "tests/support/build.hpp"
#include "tests/support/check.hpp"
#include "tests/support/cuda/cuda_context.hpp"
#include "tests/support/cuda/emulated_device.hpp"

namespace {

long host_allocations = 0;

}  // namespace

// Of the whole program and of the backend's library. Sanitizers bring their own.
#if !defined(ATTNRT_TEST_ASAN)
void* operator new(size_t bytes) {
  ++host_allocations;
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  ++host_allocations;
  return std::malloc(bytes == 0 ? 1 : bytes);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace attnrt::test {
namespace {

ProblemShape decode_shape(int32_t keys = 1600) {
  return causal_shape(DType::kBF16, 64, {{1, keys}, {2, 90}, {20, 40}});
}

ProblemShape masked_shape() {
  static const std::vector<int32_t> doc(1600, 3);
  static const std::vector<float> slopes = {0.5f, 0.25f, 0.0f, 1.0f};
  ProblemShape shape = decode_shape();
  shape.spec.causal = false;
  expr::Expr mask;
  expr::Expr score;
  REQUIRE(expr::parse(kDeviceMasks[0], mask).ok());
  REQUIRE(expr::parse(kDeviceScores[0], score).ok());
  REQUIRE(expr::compile_mask(mask, shape.spec.mask).ok());
  REQUIRE(expr::compile_score(score, shape.spec.score).ok());
  shape.mask_values = {
      expr::buffer_value("doc", expr::ElementType::kI32, doc.data(), {int64_t{1600}})};
  shape.score_values = {
      expr::buffer_value("slopes", expr::ElementType::kF32, slopes.data(), {int64_t{4}})};
  return shape;
}

// Everything that one layer's call needs, on the device.
struct Layer {
  explicit Layer(const ProblemShape& shape) : problem(shape), output(problem.make_output()) {
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).message() == "");
    args = device_args(problem, output, mirror);
  }
  // Empty where the results are right.
  std::string finding() {
    mirror.out(output.bytes.data());
    mirror.out(output.lse.data());
    if (mirror.failed()) return "device: " + take_device_failure();
    return check_close(problem, expect(problem), output, reference::Weights::kBFloat16);
  }

  Problem problem;
  Output output;
  Plan plan;
  DeviceMirror mirror;
  AttendArgs args;
};

DeviceCounts since(const DeviceCounts& before) {
  const DeviceCounts now = device_counts();
  return {now.device_allocations - before.device_allocations,
          now.host_allocations - before.host_allocations,
          now.frees - before.frees,
          now.uploads - before.uploads,
          now.launches - before.launches,
          now.waits - before.waits,
          now.compiles - before.compiles};
}

void check_launches_only(const DeviceCounts& before, int64_t launches) {
  const DeviceCounts asked = since(before);
  CHECK(asked.launches == launches);
  CHECK(asked.device_allocations == 0);
  CHECK(asked.host_allocations == 0);
  CHECK(asked.frees == 0);
  CHECK(asked.uploads == 0);
  CHECK(asked.waits == 0);
  CHECK(asked.compiles == 0);
}

class Stream {
 public:
  Stream() { REQUIRE(cudaStreamCreate(&stream_) == cudaSuccess); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  [[nodiscard]] cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace

TEST_SUITE("calls on the emulated device") {
  TEST_CASE("after the first, a plan's calls launch their kernels and ask for nothing else") {
    for (const bool masked : {false, true}) {
      CAPTURE(masked);
      Layer layer(masked ? masked_shape() : decode_shape());
      Context context = cuda_context();
      REQUIRE(attend(context, layer.plan, layer.args).message() == "");
      const DeviceCounts before = device_counts();
      const long host_before = host_allocations;
      REQUIRE(attend(context, layer.plan, layer.args).ok());
      CHECK(host_allocations == host_before);
      check_launches_only(before, 3);  // tall, short, merge
      CHECK(layer.finding() == "");
    }
  }

  TEST_CASE("a plan is uploaded by one copy, mask tables with it, and its first call waits not") {
    for (const bool masked : {false, true}) {
      Layer layer(masked ? masked_shape() : decode_shape());
      Context context = cuda_context();
      const DeviceCounts before = device_counts();
      REQUIRE(attend(context, layer.plan, layer.args).ok());
      CHECK(since(before).uploads == 1);
      CHECK(since(before).waits == 0);
    }
  }

  TEST_CASE("plans of a size that has been seen allocate nothing; the ninth upload ahead waits") {
    Context context = cuda_context();
    std::vector<std::unique_ptr<Layer>> layers;
    for (int i = 0; i < 12; ++i) {
      layers.push_back(std::make_unique<Layer>(decode_shape(1600 - i)));
    }
    REQUIRE(attend(context, layers[0]->plan, layers[0]->args).ok());
    const DeviceCounts before = device_counts();
    const long host_before = host_allocations;
    for (size_t i = 1; i < 8; ++i) {
      REQUIRE(attend(context, layers[i]->plan, layers[i]->args).ok());
    }
    CHECK(since(before).waits == 0);
    CHECK(host_allocations == host_before);
    for (size_t i = 8; i < layers.size(); ++i) {
      REQUIRE(attend(context, layers[i]->plan, layers[i]->args).ok());
    }
    CHECK(since(before).device_allocations == 0);
    CHECK(since(before).host_allocations == 0);
    CHECK(since(before).uploads == 11);
    CHECK(since(before).waits == 4);
    for (const auto& layer : layers) CHECK(layer->finding() == "");
  }

  TEST_CASE("what reserve has prepared is captured by the first call, expressions too") {
    for (const bool masked : {false, true}) {
      CAPTURE(masked);
      const Stream stream;
      Layer layer(masked ? masked_shape() : decode_shape());
      Context context = cuda_context(stream.get());
      REQUIRE(context.reserve(layer.plan, layer.args).message() == "");
      const DeviceCounts before = device_counts();
      REQUIRE(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeGlobal) == cudaSuccess);
      CHECK(attend(context, layer.plan, layer.args).message() == "");
      check_launches_only(before, 3);
      cudaGraph_t graph = nullptr;
      REQUIRE(cudaStreamEndCapture(stream.get(), &graph) == cudaSuccess);
      cudaGraphExec_t executable = nullptr;
      REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
      REQUIRE(cudaGraphLaunch(executable, stream.get()) == cudaSuccess);
      CHECK(layer.finding() == "");
      cudaGraphExecDestroy(executable);
      cudaGraphDestroy(graph);
    }
  }

  TEST_CASE("capturing what is not there yet is refused, and the capture lives on") {
    const Stream stream;
    Layer layer(decode_shape());
    Context context = cuda_context(stream.get());
    REQUIRE(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeGlobal) == cudaSuccess);
    Status status = attend(context, layer.plan, layer.args);
    CHECK(status.code() == Code::kUnsupported);
    CHECK(status.message().find("the stream is being captured and") == 0);
    status = context.reserve(layer.plan, layer.args);
    CHECK(status.code() == Code::kUnsupported);
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamEndCapture(stream.get(), &graph) == cudaSuccess);
    cudaGraphDestroy(graph);
    CHECK(attend(context, layer.plan, layer.args).ok());
    CHECK(layer.finding() == "");
  }

  TEST_CASE("no memory is OutOfMemory, leaves no error behind, and the next call works") {
    for (int allowed = 0; allowed < 5; ++allowed) {
      CAPTURE(allowed);
      Layer layer(decode_shape());
      Context context = cuda_context();
      allow_allocations(allowed);
      const Status status = attend(context, layer.plan, layer.args);
      allow_allocations(-1);
      CHECK(status.code() == Code::kOutOfMemory);
      CHECK(cudaGetLastError() == cudaSuccess);
      CHECK(attend(context, layer.plan, layer.args).message() == "");
      CHECK(layer.finding() == "");
    }
  }

  TEST_CASE("without a named backend calls run where their tensors are") {
    Layer layer(decode_shape());
    Context context;
    Output host = layer.problem.make_output();
    const DeviceCounts before = device_counts();
    REQUIRE(attend(context, layer.plan, layer.problem.args(host)).ok());
    CHECK(since(before).launches == 0);
    CHECK(check_close(layer.problem, expect(layer.problem), host,
                      weights_of(context, layer.problem)) == "");
    REQUIRE(attend(context, layer.plan, layer.args).ok());
    CHECK(since(before).launches == 3);
    CHECK(layer.finding() == "");
  }

  TEST_CASE("branches are refused by name, their weights on the device unread") {
    ProblemShape shape = decode_shape();
    shape.spec.num_branches = 2;
    const Problem problem(shape);
    Plan plan;
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    Output output = problem.make_output();
    DeviceMirror mirror;
    AttendArgs args = device_args(problem, output, mirror);
    args.lse.data = nullptr;
    std::vector<Branch> branches(args.branches.begin(), args.branches.end());
    for (Branch& branch : branches) branch.q.device = Device::kCuda;
    args.branches = branches;
    args.branch_weights = {mirror.in(args.branch_weights.data(), args.branch_weights.size_bytes()),
                           args.branch_weights.size()};
    Context context = cuda_context();
    const Status status = attend(context, plan, args);
    CHECK(status.code() == Code::kUnsupported);
    CHECK(status.message().find("spec.num_branches is 2") == 0);
  }

  TEST_CASE("what works in host memory only says so") {
    Layer layer(decode_shape());
    Context context = cuda_context();
    const Layer other(decode_shape());
    const Status converted = convert_kv(context, layer.args.kv, other.args.kv);
    CHECK(converted.code() == Code::kUnsupported);
    CHECK(converted.message() == "convert_kv works in host memory only");
    Output host = layer.problem.make_output();
    const Status attended = attend(context, layer.plan, layer.problem.args(host));
    CHECK(attended.message() == "q.device is cpu, the cuda backend reads device memory only");
  }

  TEST_CASE("host memory that is said to be the device's is found out by the emulator") {
    Layer layer(decode_shape());
    Context context = cuda_context();
    Output host = layer.problem.make_output();
    AttendArgs wrong = layer.args;
    wrong.out.data = host.bytes.data();
    REQUIRE(attend(context, layer.plan, wrong).ok());  // nothing has run yet
    CHECK(cudaDeviceSynchronize() != cudaSuccess);
    CHECK(attend(context, layer.plan, wrong).code() == Code::kInternal);
    CHECK(take_device_failure().find("outside of all buffers") != std::string::npos);
  }
}

}  // namespace attnrt::test
