// SPDX-License-Identifier: Apache-2.0
// Measuring one combination: what is counted, what is refused, what ends it.
#include "perf/sweep.hpp"

#include <doctest/doctest.h>

#include <sstream>
#include <stop_token>
#include <vector>

#include "attnrt/attention.hpp"
#include "perf/cli.hpp"
#include "perf/host_device.hpp"
#include "tests/perf/stand_in_device.hpp"

namespace attnrt::perf {
namespace {

SweepCase tiny_case() {
  SweepCase c;
  c.heads = {4, 2};
  c.head_dim = 32;
  c.head_dim_v = 16;
  c.page_size = 16;
  c.batch = 2;
  c.q_len = 1;
  c.kv_len = 40;
  c.threads = 1;
  return c;
}

SweepSettings quick(bool cold) {
  SweepSettings settings;
  settings.cold = cold;
  settings.repeat.max_seconds = 0.01;
  settings.cold_rule = {.llc_bytes = 1 << 16, .rotation_bytes = 1 << 20, .budget_bytes = 1 << 24};
  return settings;
}

Status measure(const SweepSettings& settings, const SweepCase& c, SweepResult& result,
               const std::stop_token& stop = {}) {
  ContextOptions options;
  options.num_threads = c.threads;
  Context context;
  const Status status = Context::create(options, context);
  if (!status.ok()) return status;
  std::ostringstream out;
  std::ostringstream err;
  const CommandIo io{out, err, stop, false};
  HostDevice device;
  SweepRunner runner(settings, device);
  return runner.measure(c, context, io, result);
}

TEST_CASE("a cold row rotates over as many copies as the rule asks for") {
  SweepResult result;
  const Status status = measure(quick(true), tiny_case(), result);
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK(result.work.kv_bytes == 2 * 40 * 2 * (32 + 16) * 2);
  CHECK(result.work.flops == 2 * 40 * 4 * (32 + 16) * 2);
  CHECK(result.copies % 2 == 1);
  CHECK(result.rotation_bytes == result.copies * result.work.kv_bytes);
  CHECK(result.rotation_bytes >= 1 << 20);
  CHECK(result.repeats >= 7);
  CHECK(result.seconds.median > 0.0);
  CHECK(result.read_rate > 0.0);
  CHECK(result.flop_rate > 0.0);
  CHECK(result.limit.seconds ==
        limit_of(result.work, {result.read_rate, result.flop_rate}).seconds);
  CHECK_FALSE(result.read_variant.empty());
  CHECK(result.backend == "cpu");
}

TEST_CASE("a hot row uses one copy") {
  SweepResult result;
  REQUIRE(measure(quick(false), tiny_case(), result).ok());
  CHECK(result.copies == 1);
  CHECK(result.rotation_bytes == result.work.kv_bytes);
}

TEST_CASE("what does not fit, or is not cold, is refused before anything runs") {
  SweepResult result;
  SweepSettings settings = quick(true);
  settings.cold_rule.budget_bytes = 1000;
  Status status = measure(settings, tiny_case(), result);
  CHECK(status.code() == Code::kOutOfMemory);
  CHECK(status.message().find("to be cold") != std::string::npos);
  settings.cold = false;
  status = measure(settings, tiny_case(), result);
  CHECK(status.code() == Code::kOutOfMemory);
  CHECK(status.message().find("to be measured") != std::string::npos);
}

TEST_CASE("cases and contexts take turns, each with a limit of its own") {
  SweepCase longer = tiny_case();
  longer.kv_len = 4000;
  const SweepCase shape = tiny_case();
  ContextOptions options;
  options.num_threads = 1;
  options.isa = "baseline";
  Context best, baseline;
  REQUIRE(Context::create(options, baseline).ok());
  options.isa = {};
  REQUIRE(Context::create(options, best).ok());
  std::ostringstream out;
  const CommandIo io{out, out, {}, false};
  HostDevice device;
  SweepRunner runner(quick(true), device);
  const SweepEntry entries[] = {{shape, best}, {longer, best}, {shape, baseline}};
  std::vector<SweepResult> results;
  const Status status = runner.measure_together(entries, io, results);
  REQUIRE_MESSAGE(status.ok(), status.message());
  REQUIRE(results.size() == 3);
  CHECK(results[1].seconds.median > 5.0 * results[0].seconds.median);
  CHECK(results[1].work.kv_bytes == 100 * results[0].work.kv_bytes);
  CHECK(results[0].isa == best.isa());
  CHECK(results[2].isa == "baseline");
  for (const SweepResult& result : results) {
    CHECK(result.limit.seconds ==
          limit_of(result.work, {result.read_rate, result.flop_rate}).seconds);
  }
}

TEST_CASE("ragged sequences, in pages and without") {
  for (const int32_t page_size : {0, 16}) {
    SweepCase c = tiny_case();
    c.layout = page_size == 0 ? KvLayout::kPacked : KvLayout::kNHD;
    c.page_size = page_size;
    c.batch = 5;
    c.q_len = c.kv_len;
    c.ragged = 8;
    SweepResult result;
    const Status status = measure(quick(true), c, result);
    REQUIRE_MESSAGE(status.ok(), status.message());
    CHECK(result.work.kv_bytes == work_of(c).kv_bytes);
  }
}

TEST_CASE("a device has its own memory, times and limits, and the host's waiting says nothing") {
  Context context;
  ContextOptions options;
  options.num_threads = 1;
  REQUIRE(Context::create(options, context).ok());
  std::ostringstream out;
  const CommandIo io{out, out, {}, false};
  StandInDevice device;
  SweepResult result;
  {
    SweepRunner runner(quick(true), device);
    const Status status = runner.measure(tiny_case(), context, io, result);
    REQUIRE_MESSAGE(status.ok(), status.message());
  }
  CHECK(device.copied_in > static_cast<size_t>(2 * result.copies * result.work.kv_bytes));
  CHECK(device.timed_regions > result.repeats);
  CHECK(result.read_rate == StandInDevice::kReadRate);
  CHECK(result.flop_rate == StandInDevice::kMultiplyRate);
  CHECK(result.read_variant == "loads");
  CHECK(result.arithmetic == "products");
  CHECK(result.limit.seconds ==
        limit_of(result.work, {StandInDevice::kReadRate, StandInDevice::kMultiplyRate}).seconds);
  CHECK(result.lost_share < 0.0);
  CHECK(result.huge_percent == -1);
  const ColdRule rule = cold_rule_of(device);
  CHECK(rule.llc_bytes == device.cache_bytes());
  CHECK(rule.budget_bytes == device.free_bytes() / 5 * 2);
}

TEST_CASE("a stop request ends a row") {
  std::stop_source stop;
  stop.request_stop();
  SweepResult result;
  CHECK(measure(quick(true), tiny_case(), result, stop.get_token()).code() == Code::kCancelled);
}

TEST_CASE("what the library refuses comes back as it is") {
  SweepCase c = tiny_case();
  c.heads = {3, 2};
  SweepResult result;
  CHECK(measure(quick(false), c, result).code() == Code::kInvalidArgument);
}

TEST_CASE("one runner measures rows of different dtypes, sizes and threads") {
  std::ostringstream out;
  const CommandIo io{out, out, {}, false};
  HostDevice device;
  SweepRunner runner(quick(true), device);
  for (const int32_t threads : {1, 2}) {
    ContextOptions options;
    options.num_threads = threads;
    Context context;
    REQUIRE(Context::create(options, context).ok());
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const int32_t kv_len : {500, 3}) {
        SweepCase c = tiny_case();
        c.dtype = dtype;
        c.kv_len = kv_len;
        c.threads = threads;
        SweepResult result;
        const Status status = runner.measure(c, context, io, result);
        REQUIRE_MESSAGE(status.ok(), status.message());
        CHECK(result.work.kv_bytes == int64_t{2} * kv_len * 2 * 48 * size_of(dtype));
      }
    }
  }
}

}  // namespace
}  // namespace attnrt::perf
