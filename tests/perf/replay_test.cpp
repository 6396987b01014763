// SPDX-License-Identifier: Apache-2.0
// The engine loop against the reference: every layout, dtype and kind of model, faults, Ctrl-C.
#include "perf/replay.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "tests/perf/replay_fixture.hpp"
#include "tests/perf/stand_in_device.hpp"

namespace perf = attnrt::perf;
using attnrt::Device;
using attnrt::DType;
using attnrt::KvLayout;
using perf::ReplayFixture;
using perf::ReplayResult;

namespace {

constexpr int64_t kPrompts = 37 + 1 + 64 + 20 + 5 + 33;
constexpr int64_t kOutputs = 5 + 9 + 1 + 0 + 6 + 2;
constexpr int64_t kQueryTokens = kPrompts + 4 + 8 + 0 + 0 + 5 + 1;

void check_complete(const ReplayFixture& fixture, const ReplayResult& result) {
  CHECK(result.error.empty());
  CHECK_FALSE(result.interrupted);
  CHECK(result.requests_finished == 6);
  CHECK(result.prompt_tokens == kPrompts);
  CHECK(result.output_tokens == kOutputs);
  CHECK(result.query_tokens == kQueryTokens);
  CHECK(result.padding.tokens == kQueryTokens);
  CHECK(result.padding.padded_tokens > kQueryTokens);
  CHECK(result.pages_in_use == 0);
  CHECK(result.peak_pages > 0);
  CHECK(result.peak_pages <= fixture.options.scheduling.num_pages);
  CHECK(result.phases.attend > 0.0);
  CHECK(result.prefill_steps.kv_bytes > 0);
  CHECK(result.decode_steps.flops > 0.0);
}

void check_all_rows(ReplayFixture& fixture) {
  fixture.options.check_rows = 1 << 20;
  const ReplayResult result = fixture.run();
  check_complete(fixture, result);
  CHECK(result.rows_checked == kQueryTokens * fixture.options.layers);
  CHECK_MESSAGE(result.rows_failed == 0, result.check_failure);
  CHECK(result.worst_out <= 1.0);
}

// Everything that calls read or write lies in the device's memory, and says where that is.
void check_places(const perf::StandInDevice& device, const attnrt::AppendArgs& append,
                  const attnrt::AttendArgs& attend) {
  const auto tensor = [&](const auto& view) {
    CHECK(device.has(view.data, static_cast<size_t>(view.shape[0] * view.strides[0] * 2)));
    CHECK(view.device == device.device());
  };
  tensor(append.k);
  tensor(append.v);
  tensor(attend.q);
  tensor(attend.out);
  CHECK(device.has(attend.lse.data, static_cast<size_t>(attend.q.shape[0] * 4) * sizeof(float)));
  for (const std::span<const float> list : {attend.sinks, attend.alibi_slopes}) {
    const bool there = list.empty() || device.has(list.data(), list.size_bytes());
    CHECK(there);
  }
  for (const attnrt::KvView& kv : {append.kv, attend.kv}) {
    CHECK(device.has(kv.k, static_cast<size_t>(kv.num_pages * kv.k_strides.page * 2)));
    CHECK(device.has(kv.v, static_cast<size_t>(kv.num_pages * kv.v_strides.page * 2)));
    CHECK(kv.device == device.device());
  }
}

}  // namespace

TEST_CASE("every row of a replay is that of the reference, in every dtype and layout") {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const KvLayout layout : {KvLayout::kNHD, KvLayout::kHND}) {
      CAPTURE(to_string(dtype));
      CAPTURE(to_string(layout));
      ReplayFixture fixture;
      fixture.options.dtype = dtype;
      fixture.options.layout = layout;
      check_all_rows(fixture);
    }
  }
}

TEST_CASE("tensors on a device say so") {
  perf::StandInDevice device(Device::kCuda);
  ReplayFixture fixture;
  fixture.device = &device;
  int64_t layers = 0;
  fixture.options.before_calls = [&](const auto& append, const auto& attend) {
    check_places(device, append, attend);
    ++layers;
  };
  const ReplayResult result = fixture.run();
  CHECK(layers == 1);
  // The CPU backend refuses such tensors by name.
  CHECK(result.error.find("cuda") != std::string::npos);
}

TEST_CASE("on a device, rows are those of the reference, times and limits those of the device") {
  perf::StandInDevice device;
  for (const bool extras : {false, true}) {
    ReplayFixture fixture;
    perf::ShapeNumbers shape;
    shape.heads = "4/2";
    shape.head_dim = 32;
    shape.sinks = shape.alibi = extras;
    fixture.options.model = perf::custom_model(shape);
    fixture.options.layers = 2;
    fixture.device = &device;
    device.timed_regions = 0;
    fixture.options.before_calls = [&](const auto& append, const auto& attend) {
      check_places(device, append, attend);
    };
    fixture.options.check_rows = 1 << 20;
    const ReplayResult result = fixture.run();
    check_complete(fixture, result);
    CHECK(result.rows_checked == kQueryTokens * 2);
    CHECK_MESSAGE(result.rows_failed == 0, result.check_failure);
    CHECK(device.timed_regions == result.steps() * 2 * 2);  // append and attend of every layer
    CHECK(result.huge_bytes == -1);
    // Of K and V that a cache could hold no read rate is claimed, and so no limit.
    CHECK(result.rates.read_bytes_per_second == 0.0);
    CHECK(result.rates.flops_per_second == perf::StandInDevice::kMultiplyRate);
    CHECK(result.limit_seconds == 0.0);
  }
}

TEST_CASE("every kind of attention that a model can ask for") {
  const auto run = [](auto&& change) {
    ReplayFixture fixture;
    perf::ShapeNumbers shape;
    shape.heads = "4/2";
    shape.head_dim = 32;
    change(shape);
    fixture.options.model = perf::custom_model(shape);
    check_all_rows(fixture);
  };
  using Shape = perf::ShapeNumbers;
  run([](Shape& shape) { shape.window = 7; });
  run([](Shape& shape) { shape.softcap = 2.0; });
  run([](Shape& shape) { shape.sinks = true; });
  run([](Shape& shape) { shape.alibi = true; });
  run([](Shape& shape) { shape.head_dim_v = 16; });
  run([](Shape& shape) { shape.heads = "7/1"; });
  run([](Shape& shape) {
    shape.heads = "4/1";
    shape.head_dim = 48;
    shape.head_dim_v = 32;
    shape.mla = true;
  });
}

TEST_CASE("layers have caches and kinds of their own") {
  ReplayFixture fixture;
  fixture.options.model.kinds.push_back(fixture.options.model.kinds.front());
  fixture.options.model.kinds.front().spec.window_left = 4;
  fixture.options.layers = 3;
  check_all_rows(fixture);
}

TEST_CASE("the reference backend replays, too") {
  ReplayFixture fixture("reference");
  check_all_rows(fixture);
}

TEST_CASE("a replay in packed16 pages appends where the reference reads") {
  for (const int32_t page_size : {16, 32}) {
    ReplayFixture fixture("reference");
    fixture.options.layout = KvLayout::kPacked16;
    fixture.options.scheduling.page_size = page_size;
    check_all_rows(fixture);
  }
  ReplayFixture fixture;
  fixture.options.layout = KvLayout::kPacked16;
  fixture.options.scheduling.page_size = 24;
  CHECK_THROWS_WITH_AS(fixture.run(),
                       "--page-size is 24; packed16 pages hold a multiple of 16 keys",
                       perf::BadInput);
}

TEST_CASE("a spoiled result is found") {
  ReplayFixture fixture;
  fixture.options.dtype = DType::kF32;
  fixture.options.check_rows = 1 << 20;
  fixture.options.after_attend = [](int64_t step, const attnrt::TensorView& out) {
    if (step == 3) static_cast<float*>(out.data)[out.strides[1] + 5] += 0.01f;
  };
  const ReplayResult result = fixture.run();
  CHECK(result.rows_checked == kQueryTokens);
  // One head of a row is checked, and it is another head for most seeds: ask for all of them.
  int64_t failed = result.rows_failed;
  for (uint64_t seed = 2; failed == 0 && seed < 40; ++seed) {
    fixture.options.seed = seed;
    failed = fixture.run().rows_failed;
  }
  CHECK(failed == 1);
}

TEST_CASE("a NaN in the output is found, and the complaint says where") {
  ReplayFixture fixture;
  fixture.options.dtype = DType::kF32;
  fixture.options.check_rows = 1 << 20;
  fixture.options.after_attend = [](int64_t step, const attnrt::TensorView& out) {
    if (step != 2) return;
    for (int64_t i = 0; i < out.shape[1] * out.shape[2]; ++i) {
      static_cast<float*>(out.data)[i] = __builtin_nanf("");
    }
  };
  const ReplayResult result = fixture.run();
  CHECK(result.rows_failed == 1);
  CHECK(result.check_failure.starts_with("step 2, layer 0, request "));
  CHECK(result.check_failure.find("|out - reference| is inf") != std::string::npos);
}

TEST_CASE("a stop request ends the run with what was measured and no page in use") {
  ReplayFixture fixture;
  fixture.options.check_rows = 1 << 20;
  fixture.options.after_attend = [&](int64_t step, const attnrt::TensorView&) {
    if (step == 4) fixture.stop.request_stop();
  };
  const ReplayResult result = fixture.run();
  CHECK(result.interrupted);
  CHECK(result.steps() == 5);
  CHECK(result.requests_finished < 6);
  CHECK(result.pages_in_use == 0);
  CHECK(result.error.empty());
  CHECK(result.rows_checked == result.query_tokens);
}

TEST_CASE("a stop request before the first step measures nothing") {
  ReplayFixture fixture;
  fixture.stop.request_stop();
  const ReplayResult result = fixture.run();
  CHECK(result.interrupted);
  CHECK(result.steps() == 0);
  CHECK(result.pages_in_use == 0);
}

TEST_CASE("an MLA cache in head-major pages is refused") {
  ReplayFixture fixture;
  fixture.options.model = perf::find_model("deepseek-v3");
  fixture.options.layout = KvLayout::kHND;
  CHECK_THROWS_WITH_AS(fixture.run(),
                       "--layout is 'hnd'; model deepseek-v3 keeps one row per key: nhd only",
                       perf::BadInput);
}
