// SPDX-License-Identifier: Apache-2.0
// What merge_states refuses, by the exact message, and that a refused call writes nothing.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/attention.hpp"

namespace attnrt {
namespace {

constexpr float kPattern = 1234.5f;

// Two states, and two sets of partials with 1 and 2 splits, of 3 tokens, 2 heads and 4 columns.
struct Case {
  std::array<std::vector<float>, 2> outs = {std::vector<float>(24, 0.5f),
                                            std::vector<float>(24, 0.25f)};
  std::array<std::vector<float>, 2> lses = {std::vector<float>(6, 1.0f),
                                            std::vector<float>(6, 2.0f)};
  std::array<std::vector<float>, 2> acc = {std::vector<float>(24, 0.5f),
                                           std::vector<float>(48, 0.25f)};
  std::array<std::vector<float>, 2> ref = {std::vector<float>(6, 1.0f),
                                           std::vector<float>(12, 1.0f)};
  std::array<std::vector<float>, 2> sum = {std::vector<float>(6, 1.0f),
                                           std::vector<float>(12, 1.0f)};
  std::vector<float> sinks = {0.5f, 0.25f};
  std::vector<float> out = std::vector<float>(24, kPattern);
  std::vector<float> lse = std::vector<float>(6, kPattern);

  std::vector<StateView> states;
  std::vector<PartialView> partials;
  TensorView out_view;
  LseView lse_view;
  std::span<const float> sink_view;

  Case() {
    out_view = dense_tensor(out.data(), DType::kF32, 3, 2, 4);
    lse_view.data = lse.data();
    sink_view = sinks;
    for (size_t i = 0; i < 2; ++i) {
      states.push_back(
          {dense_tensor(std::as_const(outs[i]).data(), DType::kF32, 3, 2, 4), lses[i].data()});
      partials.push_back(
          {acc[i].data(), ref[i].data(), sum[i].data(), static_cast<int32_t>(i + 1)});
    }
  }
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  [[nodiscard]] bool untouched() const {
    const auto is_pattern = [](float x) { return x == kPattern; };
    return std::ranges::all_of(out, is_pattern) && std::ranges::all_of(lse, is_pattern);
  }
};

Context reference_context() {
  ContextOptions options;
  options.backend = "reference";
  Context context;
  REQUIRE(Context::create(options, context).message() == "");
  return context;
}

Status merge_all_states(Context& context, const Case& c) {
  return merge_states(context, c.states, c.out_view, c.lse_view, c.sink_view);
}
Status merge_all_partials(Context& context, const Case& c) {
  return merge_states(context, c.partials, c.out_view, c.lse_view, c.sink_view);
}

struct Row {
  std::string message;
  std::function<void(Case&)> spoil;
};

void check_refused(Status (*merge)(Context&, const Case&), const std::vector<Row>& rows) {
  Context context = reference_context();
  Case good;
  REQUIRE(merge(context, good).message() == "");
  CHECK_FALSE(good.untouched());
  for (const Row& row : rows) {
    CAPTURE(row.message);
    Case bad;
    row.spoil(bad);
    const Status status = merge(context, bad);
    CHECK(status.code() == Code::kInvalidArgument);
    CHECK(status.message() == row.message);
    CHECK(bad.untouched());
  }
}

float* misaligned(std::vector<float>& list) {
  return reinterpret_cast<float*>(reinterpret_cast<char*>(list.data()) + 2);
}

const std::vector<Row> kOutputRows = {
    {"out.shape[0] is -1, must not be negative", [](Case& c) { c.out_view.shape[0] = -1; }},
    {"out.shape[1] is 0, must be 1..2147483647", [](Case& c) { c.out_view.shape[1] = 0; }},
    {"out.shape[2] is 2147483648, must be 1..2147483647",
     [](Case& c) { c.out_view.shape[2] = int64_t{1} << 31; }},
    {"out.dtype is 3, not a DType", [](Case& c) { c.out_view.dtype = static_cast<DType>(3); }},
    {"out.data is null", [](Case& c) { c.out_view.data = nullptr; }},
    {"out.data is 2 bytes off, must be aligned to 4 (f32)",
     [](Case& c) { c.out_view.data = misaligned(c.out); }},
    {"out.strides[2] is 4, must be 1", [](Case& c) { c.out_view.strides[2] = 4; }},
    {"out.strides[0] is 0, must be positive", [](Case& c) { c.out_view.strides[0] = 0; }},
    {"out.strides[1] is 3, must be at least 4 to keep rows apart",
     [](Case& c) { c.out_view.strides[1] = 3; }},
    {"lse.data is 2 bytes off, must be aligned to 4 (f32)",
     [](Case& c) { c.lse_view.data = misaligned(c.lse); }},
    {"lse.base is 9, not an LseBase", [](Case& c) { c.lse_view.base = static_cast<LseBase>(9); }},
    {"lse overlaps out", [](Case& c) { c.lse_view.data = c.out.data() + 23; }},
    {"out overlaps sinks", [](Case& c) { c.sink_view = std::span(c.out).subspan(4, 2); }},
    {"lse overlaps sinks", [](Case& c) { c.sink_view = std::span(c.lse).first(2); }},
    {"sinks has 1 entries, must have 2 (heads)",
     [](Case& c) { c.sink_view = std::span(c.sinks).first(1); }},
};

TEST_CASE("merge_states refuses outputs that it cannot write, whatever it merges") {
  check_refused(merge_all_states, kOutputRows);
  check_refused(merge_all_partials, kOutputRows);
}

TEST_CASE("merge_states refuses bad states") {
  check_refused(
      merge_all_states,
      {
          {"states has 0 entries, must have 1..2147483647", [](Case& c) { c.states.clear(); }},
          {"states[1].out.shape[0] is 2, must be 3 (as in out)",
           [](Case& c) { c.states[1].out.shape[0] = 2; }},
          {"states[0].out.shape[1] is 3, must be 2 (as in out)",
           [](Case& c) { c.states[0].out.shape[1] = 3; }},
          {"states[1].out.shape[2] is 5, must be 4 (as in out)",
           [](Case& c) { c.states[1].out.shape[2] = 5; }},
          {"states[1].out.dtype is 3, not a DType",
           [](Case& c) { c.states[1].out.dtype = static_cast<DType>(3); }},
          {"states[1].out is null", [](Case& c) { c.states[1].out.data = nullptr; }},
          {"states[0].out is 2 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.states[0].out.data = misaligned(c.outs[0]); }},
          {"states[1].out.strides[0] is 0, must be positive",
           [](Case& c) { c.states[1].out.strides[0] = 0; }},
          {"states[1].out.strides[2] is 2, must be 1",
           [](Case& c) { c.states[1].out.strides[2] = 2; }},
          {"states[1].out.device is not that of out",
           [](Case& c) { c.states[1].out.device = Device::kCuda; }},
          {"states[1].lse is null", [](Case& c) { c.states[1].lse = nullptr; }},
          {"states[1].lse is 2 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.states[1].lse = misaligned(c.lses[1]); }},
          {"out overlaps states[0].out", [](Case& c) { c.states[0].out.data = c.out.data(); }},
          {"out overlaps states[1].lse", [](Case& c) { c.states[1].lse = c.out.data() + 20; }},
          {"lse overlaps states[1].out", [](Case& c) { c.lse_view.data = c.outs[1].data() + 18; }},
          {"lse overlaps states[0].lse", [](Case& c) { c.lse_view.data = c.lses[0].data(); }},
      });
}

TEST_CASE("merge_states refuses bad partials") {
  check_refused(
      merge_all_partials,
      {
          {"partials has 0 entries, must have 1..2147483647", [](Case& c) { c.partials.clear(); }},
          {"partials[1].num_splits is -1, must not be negative",
           [](Case& c) { c.partials[1].num_splits = -1; }},
          {"partials[1].acc is null", [](Case& c) { c.partials[1].acc = nullptr; }},
          {"partials[0].ref is null", [](Case& c) { c.partials[0].ref = nullptr; }},
          {"partials[1].sum is null", [](Case& c) { c.partials[1].sum = nullptr; }},
          {"partials[0].acc is 2 bytes off, must be aligned to 4 (f32)",
           [](Case& c) { c.partials[0].acc = misaligned(c.acc[0]); }},
          {"out overlaps partials[1].acc", [](Case& c) { c.out_view.data = c.acc[1].data() + 24; }},
          {"lse overlaps partials[0].ref", [](Case& c) { c.lse_view.data = c.ref[0].data(); }},
          {"lse overlaps partials[1].sum", [](Case& c) { c.lse_view.data = c.sum[1].data() + 6; }},
      });
}

TEST_CASE("merging on a device that no backend has is not supported") {
  Context context = reference_context();
  Case c;
  c.out_view.device = Device::kCuda;
  for (StateView& state : c.states) state.out.device = Device::kCuda;
  const Status status = merge_all_states(context, c);
  CHECK(status.code() == Code::kUnsupported);
  CHECK(status.message() == "out.device is cuda, the reference backend works in host memory only");
  CHECK(c.untouched());
}

TEST_CASE("merging no tokens, and partials without splits, need no memory") {
  Context context = reference_context();
  const StateView none = {dense_tensor(static_cast<const void*>(nullptr), DType::kF32, 0, 2, 4),
                          nullptr};
  const TensorView out = dense_tensor(static_cast<void*>(nullptr), DType::kF32, 0, 2, 4);
  CHECK(merge_states(context, std::span(&none, 1), out).message() == "");

  Case c;
  c.partials.push_back({});
  CHECK(merge_all_partials(context, c).message() == "");
}

}  // namespace
}  // namespace attnrt
