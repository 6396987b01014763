// SPDX-License-Identifier: Apache-2.0
// Memory that a backend does not reach is refused by name: in every call, by every backend.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "attnrt/attention.hpp"
#include "attnrt/runtime.hpp"

namespace attnrt {
namespace {

// One sequence of 3 tokens, one head of 8 dims, f32, with every argument said to be on the device.
struct Calls {
  std::vector<float> q = std::vector<float>(24, 1.0f);
  std::vector<float> cache = std::vector<float>(2 * 16 * 8, 0.5f);
  std::vector<float> out = std::vector<float>(24, -1.0f);
  std::vector<int32_t> cu_seqlens{0, 3};
  std::vector<int32_t> length{0};
  std::vector<int32_t> pages{0};
  Device device;

  explicit Calls(Device where) : device(where) {}

  template <class Tensor>
  [[nodiscard]] Tensor there(Tensor tensor) const {
    tensor.device = device;
    return tensor;
  }
  [[nodiscard]] KvView kv() {
    return there(
        KvView::paged(cache.data(), cache.data() + 128, DType::kF32, KvLayout::kNHD, 1, 16, 1, 8));
  }
  [[nodiscard]] ConstTensorView tokens() const {
    return there(dense_tensor(static_cast<const void*>(q.data()), DType::kF32, 3, 1, 8));
  }
  [[nodiscard]] TensorView result() {
    return there(dense_tensor(static_cast<void*>(out.data()), DType::kF32, 3, 1, 8));
  }

  Status attend_one(Context& context) {
    const std::vector<int32_t> used{3};
    SequenceBatch batch;
    batch.cu_seqlens_q = cu_seqlens;
    batch.seqused_k = used;
    batch.block_table = BlockTable::dense(pages, 1, 16);
    Plan plan;
    REQUIRE(make_plan({.num_heads_q = 1, .num_heads_kv = 1, .head_dim = 8}, batch, plan).ok());
    AttendArgs args;
    args.q = tokens();
    args.kv = kv();
    args.out = result();
    return attend(context, plan, args);
  }
  Status append_one(Context& context) {
    AppendArgs args;
    args.k = args.v = tokens();
    args.kv = kv();
    args.cu_seqlens_new = cu_seqlens;
    args.cache_seqlens = length;
    args.block_table = BlockTable::dense(pages, 1, 16);
    return append_kv(context, args);
  }
  Status convert_one(Context& context) {
    std::vector<float> other(cache.size());
    const KvView to = there(
        KvView::paged(other.data(), other.data() + 128, DType::kF32, KvLayout::kHND, 1, 16, 1, 8));
    return convert_kv(context, kv(), to);
  }
  Status merge_one(Context& context) {
    const std::vector<float> lse(3);
    const StateView state{tokens(), lse.data()};
    return merge_states(context, std::span(&state, 1), result());
  }
  Status merge_partial(Context& context) {
    std::vector<float> ref(3), sum(3, 1.0f);
    const PartialView partial{q.data(), ref.data(), sum.data(), 1};
    return merge_states(context, std::span(&partial, 1), result());
  }
};

TEST_CASE("calls on memory of a device that the backend does not reach name the argument") {
  struct Row {
    std::string argument;
    Status (Calls::*call)(Context&);
  };
  const Row rows[] = {{"kv", &Calls::attend_one},
                      {"kv", &Calls::append_one},
                      {"from", &Calls::convert_one},
                      {"out", &Calls::merge_one},
                      {"out", &Calls::merge_partial}};
  for (const std::string backend : {"cpu", "reference"}) {
    CAPTURE(backend);
    ContextOptions options;
    options.backend = backend;
    Context context;
    REQUIRE(Context::create(options, context).ok());
    for (const Row& row : rows) {
      CAPTURE(row.argument);
      Calls here(Device::kCpu);
      CHECK((here.*row.call)(context).message() == "");
      Calls there(Device::kCuda);
      const Calls before = there;
      const Status status = (there.*row.call)(context);
      CHECK(status.code() == Code::kUnsupported);
      CHECK(status.message() == row.argument + ".device is cuda, the " + backend +
                                    " backend works in host memory only");
      CHECK(there.cache == before.cache);
      CHECK(there.out == before.out);
    }
  }
}

}  // namespace
}  // namespace attnrt
