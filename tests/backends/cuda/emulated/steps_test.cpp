// SPDX-License-Identifier: Apache-2.0
// Steps of decoding whose lengths, pages and slots stand on the device: captured once, replayed as
// sequences grow. On the emulated device, against plans of the real lengths, in bits.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/backends/cuda/cuda_shapes.hpp"
#include "tests/backends/cuda/device/device_mirror.hpp"
#include "tests/support/check.hpp"
#include "tests/support/cuda/cuda_context.hpp"
#include "tests/support/cuda/emulated_device.hpp"

namespace attnrt::test {
namespace {

ProblemShape step_shape() {
  ProblemShape shape =
      causal_shape(DType::kBF16, 64, {{1, 1600}, {4, 530}, {1, 3}, {20, 40}, {0, 9}});
  shape.spec.has_alibi = shape.spec.has_sinks = true;
  shape.page_size = 7;
  shape.sequences[1].leftpad = 5;
  return shape;
}

// The plan of upper bounds, with a batch of lengths of one's own.
struct Planned {
  Planned(const Problem& problem, const std::vector<int32_t>& lengths) : seqused(lengths) {
    batch = problem.batch();
    batch.seqused_k = seqused;
    REQUIRE(make_plan(problem.spec(), batch, plan).message() == "");
  }
  std::vector<int32_t> seqused;
  SequenceBatch batch;
  Plan plan;
};

class Bytes {
 public:
  explicit Bytes(size_t bytes) : bytes_(bytes) {
    REQUIRE(cudaMalloc(&data_, bytes) == cudaSuccess);
  }
  ~Bytes() { cudaFree(data_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  template <class T>
  T* put(const std::vector<T>& values) {
    REQUIRE(values.size() * sizeof(T) <= bytes_);
    REQUIRE(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice) ==
            cudaSuccess);
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_;
};

std::vector<int32_t> lengths_of(const Problem& problem) {
  const SequenceBatch batch = problem.batch();
  return {batch.seqused_k.begin(), batch.seqused_k.end()};
}

std::string refusal(const ProblemShape& shape, const DeviceLengths& lengths, Device device) {
  const Problem problem(shape);
  Plan plan;
  REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
  Output output = problem.make_output();
  AttendArgs args = problem.args(output);
  args.q.device = args.kv.device = args.out.device = device;
  args.device_lengths = lengths;
  Context context;
  return attend(context, plan, args).message();
}

}  // namespace

TEST_SUITE("steps whose lengths stand on the device") {
  TEST_CASE("a captured call follows lengths and pages, with the bits of their own plans") {
    cudaStream_t stream = nullptr;
    REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
    const Problem problem(step_shape());
    const Planned most(problem, lengths_of(problem));
    const BlockTable& table = most.batch.block_table;
    const std::vector<int32_t> pages(table.pages.begin(), table.pages.end());
    Bytes lengths(64);
    Bytes device_pages(pages.size() * sizeof(int32_t));
    Output output = problem.make_output();
    DeviceMirror mirror;
    AttendArgs args = device_args(problem, output, mirror);
    args.device_lengths = {lengths.put(most.seqused), device_pages.put(pages), table.max_pages};
    // The plan is made with pages that are all there is to read wrong ones from.
    const std::vector<int32_t> no_pages(pages.size(), 0);
    SequenceBatch bound = most.batch;
    bound.block_table = BlockTable::dense(no_pages, table.max_pages, table.page_size);
    Plan plan;
    REQUIRE(make_plan(problem.spec(), bound, plan).message() == "");

    Context context = cuda_context(stream);
    REQUIRE(context.reserve(plan, args).message() == "");
    REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
    REQUIRE(attend(context, plan, args).message() == "");
    cudaGraph_t graph = nullptr;
    REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
    cudaGraphExec_t executable = nullptr;
    REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
    Context other = cuda_context();
    const std::vector<std::vector<int32_t>> steps = {{1600, 535, 3, 40, 9}, {1024, 517, 2, 33, 0},
                                                     {513, 5, 0, 7, 1},     {512, 6, 1, 39, 9},
                                                     {64, 100, 3, 20, 9},   {0, 0, 0, 0, 0}};
    for (const std::vector<int32_t>& step : steps) {
      lengths.put(step);
      REQUIRE(cudaGraphLaunch(executable, stream) == cudaSuccess);
      mirror.out(output.bytes.data());
      mirror.out(output.lse.data());
      // What is there before the first key is there in any plan.
      std::vector<int32_t> valid = step;
      valid[1] = std::max(valid[1], 5);
      const Planned own(problem, valid);
      Output expected = problem.make_output();
      DeviceMirror of_own;
      REQUIRE(attend(other, own.plan, device_args(problem, expected, of_own)).message() == "");
      of_own.out(expected.bytes.data());
      of_own.out(expected.lse.data());
      REQUIRE(take_device_failure() == "");
      CHECK(check_same_bits(expected, output) == "");
    }
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
  }

  TEST_CASE("lengths beyond the plan's count as those") {
    const Problem problem(step_shape());
    const Planned planned(problem, lengths_of(problem));
    Bytes lengths(64);
    Context context = cuda_context();
    Output outputs[2] = {problem.make_output(), problem.make_output()};
    for (Output& output : outputs) {
      DeviceMirror mirror;
      AttendArgs args = device_args(problem, output, mirror);
      if (&output == &outputs[1]) {
        args.device_lengths.seqused_k = lengths.put<int32_t>({9000, 2147483647, 4, 41, 10});
      }
      REQUIRE(attend(context, planned.plan, args).ok());
      mirror.out(output.bytes.data());
      mirror.out(output.lse.data());
    }
    REQUIRE(take_device_failure() == "");
    CHECK(check_same_bits(outputs[0], outputs[1]) == "");
  }

  TEST_CASE("what cannot be is refused by name") {
    const int32_t somewhere = 0;
    const DeviceLengths lengths{&somewhere, nullptr, 0};
    const DeviceLengths pages{nullptr, &somewhere, 228};
    ProblemShape shape = step_shape();
    CHECK(refusal(shape, lengths, Device::kCpu) == "device_lengths is given, q is in host memory");
    CHECK(refusal(shape, pages, Device::kCuda) ==
          "device_lengths.row_stride is 228, sequence 0 has 1600 slots in pages of 7");
    CHECK(refusal(shape, {nullptr, &somewhere, 0}, Device::kCuda) ==
          "device_lengths.row_stride is 0, must be 1..429496729 for 5 sequences");
    CHECK(refusal(shape, {nullptr, &somewhere, int64_t{1} << 30}, Device::kCuda) ==
          "device_lengths.row_stride is 1073741824, must be 1..429496729 for 5 sequences");
    shape.spec.window_left = 5;
    CHECK(
        refusal(shape, lengths, Device::kCuda) ==
        "device_lengths.seqused_k is given, spec.window_left is 5: such plans hold for one length");
    shape = step_shape();
    REQUIRE(expr::compile_mask(expr::kv() % 2 == 0, shape.spec.mask).ok());
    CHECK(refusal(shape, lengths, Device::kCuda) ==
          "device_lengths.seqused_k is given with spec.mask: such plans hold for one length");
    shape = step_shape();
    shape.layout = KvLayout::kPacked;
    shape.sequences[1].leftpad = 0;
    CHECK(refusal(shape, pages, Device::kCuda) ==
          "device_lengths.block_table is given, the plan has cu_seqlens_k (packed)");
  }

  TEST_CASE("a captured append follows slots and positions; slots outside are skipped") {
    cudaStream_t stream = nullptr;
    REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
    constexpr int32_t kPages = 3;
    constexpr int32_t kPageSize = 4;
    constexpr int32_t kDim = 64;
    std::vector<uint16_t> rows(2 * kDim);
    std::vector<float> angles(8 * kDim / 2);
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = f32_to_bf16(static_cast<float>(i) - 30.0f);
    for (size_t i = 0; i < angles.size(); ++i) angles[i] = 0.01f * static_cast<float>(i);
    std::vector<uint16_t> cache[2];
    for (auto& half : cache) half.assign(size_t{kPages} * kPageSize * kDim, 7);
    DeviceMirror mirror;
    AppendArgs args;
    args.k =
        dense_tensor(static_cast<const void*>(mirror.in(rows.data(), rows.size() * sizeof rows[0])),
                     DType::kBF16, 2, 1, kDim);
    args.v = args.k;
    args.kv = KvView::paged(mirror.in(cache[0].data(), cache[0].size() * 2),
                            mirror.in(cache[1].data(), cache[1].size() * 2), DType::kBF16,
                            KvLayout::kNHD, kPages, kPageSize, 1, kDim);
    args.rotary.cos = mirror.in(angles.data(), angles.size() * sizeof angles[0]);
    args.rotary.sin = args.rotary.cos;
    args.rotary.max_position = 8;
    args.rotary.rotary_dim = kDim;
    args.k.device = args.v.device = args.kv.device = Device::kCuda;
    AppendArgs by_lists = args;
    Bytes slots(64);
    Bytes positions(64);
    args.device_slots = {slots.put<int64_t>({-1, 1 << 20}), nullptr};
    Context context = cuda_context(stream);
    CHECK(append_kv(context, args).message() ==
          "device_slots.rotary_positions is null, rotary needs it");
    args.device_slots.rotary_positions = positions.put<int32_t>({0, 0});

    REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
    REQUIRE(append_kv(context, args).message() == "");
    cudaGraph_t graph = nullptr;
    REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
    cudaGraphExec_t executable = nullptr;
    REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
    const auto contents = [&] {
      for (auto& half : cache) mirror.out(half.data());
      return std::vector<std::vector<uint16_t>>{cache[0], cache[1]};
    };
    const auto untouched = contents();
    REQUIRE(cudaGraphLaunch(executable, stream) == cudaSuccess);
    CHECK(contents() == untouched);
    const std::vector<int64_t> step = {11, 2};
    const std::vector<int32_t> at = {7, 3};
    slots.put(step);
    positions.put(at);
    REQUIRE(cudaGraphLaunch(executable, stream) == cudaSuccess);
    const auto replayed = contents();
    CHECK(replayed != untouched);
    by_lists.slot_mapping = step;
    by_lists.rotary_positions = at;
    REQUIRE(append_kv(context, by_lists).message() == "");
    CHECK(contents() == replayed);
    by_lists.device_slots = args.device_slots;
    CHECK(append_kv(context, by_lists).message() ==
          "device_slots and lists in host memory are both given");
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
  }
}

}  // namespace attnrt::test
