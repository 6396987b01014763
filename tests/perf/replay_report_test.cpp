// SPDX-License-Identifier: Apache-2.0
// Rates and shares of a replay by hand, and that nothing is invented where nothing was measured.
#include "perf/replay_report.hpp"

#include <doctest/doctest.h>

#include <string>
#include <variant>

namespace perf = attnrt::perf;

namespace {

const perf::Value& value_of(const perf::Report& report, const std::string& key) {
  static const perf::Value kMissing = std::string("missing");
  for (size_t i = 0; i < report.columns.size(); ++i) {
    if (report.columns[i].key == key) return report.rows.at(0).at(i);
  }
  return kMissing;
}

double number(const perf::Report& report, const std::string& key) {
  CAPTURE(key);
  const auto* value = std::get_if<double>(&value_of(report, key));
  REQUIRE(value != nullptr);
  return *value;
}

perf::ReplayOptions llama() {
  perf::ReplayOptions options;
  options.model = perf::find_model("llama-3.1-8b");
  options.layers = 2;
  return options;
}

}  // namespace

TEST_CASE("rates and shares") {
  perf::ReplayResult result;
  result.query_tokens = 1000;
  result.step_seconds = {0.001, 0.003, 0.002};
  result.phases = {0.5, 0.5, 1.0, 8.0};
  result.workers = {10, 750, 250};
  result.decode_steps = {2.0, 20'000'000'000, 4e9};
  result.prefill_steps = {6.0, 4'000'000'000, 600e9};
  result.padding = {10, 40, 100, 250, 7, 21};
  result.batch_sum = 12;
  const perf::Report report = perf::replay_report({"t", "azure", {}}, llama(), result);
  CHECK(number(report, "attention_tokens_per_s") == doctest::Approx(2000.0 / 8.0));
  CHECK(number(report, "tokens_per_s") == doctest::Approx(100.0));
  CHECK(number(report, "median_us") == doctest::Approx(2000.0));
  CHECK(number(report, "kv_gbps") == doctest::Approx(3.0));
  CHECK(number(report, "decode_kv_gbps") == doctest::Approx(10.0));
  CHECK(number(report, "gflops") == doctest::Approx(604.0 / 8.0));
  CHECK(number(report, "prefill_gflops") == doctest::Approx(100.0));
  CHECK(number(report, "attend_percent") == doctest::Approx(80.0));
  CHECK(number(report, "plan_percent") == doctest::Approx(5.0));
  CHECK(number(report, "merge_percent") == doctest::Approx(20.0));
  CHECK(number(report, "mean_batch") == doctest::Approx(4.0));
  CHECK(number(report, "padded_tokens_factor") == doctest::Approx(4.0));
  CHECK(number(report, "padded_history_factor") == doctest::Approx(2.5));
  CHECK(number(report, "history_gb") == doctest::Approx(100 * 4096 * 2 / 1e9));
  CHECK(number(report, "padded_pairs_factor") == doctest::Approx(3.0));
}

TEST_CASE("an empty measurement has no rates") {
  const perf::Report report = perf::replay_report({"t", "azure", {}}, llama(), {});
  REQUIRE(report.rows.size() == 1);
  for (const char* key :
       {"median_us", "p90_us", "p99_us", "kv_gbps", "gflops", "tokens_per_s", "limit_percent",
        "plan_percent", "merge_percent", "mean_batch", "checked_rows", "worst_error_ratio"}) {
    CAPTURE(key);
    CHECK(std::holds_alternative<std::monostate>(value_of(report, key)));
  }
  CHECK(value_of(report, "steps") == perf::Value(int64_t{0}));
}
