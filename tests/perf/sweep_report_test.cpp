// SPDX-License-Identifier: Apache-2.0
// Rows of a sweep as values of a report, from made-up results.
#include "perf/sweep_report.hpp"

#include <doctest/doctest.h>

#include <string>
#include <variant>
#include <vector>

namespace attnrt::perf {
namespace {

size_t index_of(const std::vector<Column>& columns, const std::string& key) {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].key == key) return i;
  }
  FAIL("no column ", key);
  return 0;
}

SweepCase made_case() {
  SweepCase c;
  c.heads = {32, 8};
  c.head_dim = 128;
  c.head_dim_v = 128;
  c.page_size = 16;
  c.batch = 1;
  c.q_len = 1;
  c.kv_len = 4096;
  c.threads = 2;
  return c;
}

SweepResult made_result() {
  SweepResult result;
  result.isa = "avx2";
  result.backend = "cpu";
  result.work = {.kv_bytes = 16'000'000, .flops = 64'000'000};
  result.copies = 33;
  result.rotation_bytes = 528'000'000;
  result.huge_percent = 99;
  result.seconds = {.median = 1e-3, .p10 = 0.9e-3, .p90 = 1.5e-3, .noise = 0.02};
  result.repeats = 24;
  result.lost_share = 0.25;
  result.read_rate = 20e9;
  result.flop_rate = 100e9;
  result.read_variant = "4 streams";
  result.arithmetic = "bf16 dot";
  result.limit = limit_of(result.work, {result.read_rate, result.flop_rate});
  return result;
}

TEST_CASE("a row of a GPU has its instruction as limit, and no threads, huge pages or lost CPU") {
  SweepResult result = made_result();
  result.backend = "cuda";
  result.isa = "none";
  result.huge_percent = -1;
  result.lost_share = -1.0;
  result.arithmetic = "bf16 mma.sync";
  result.flop_rate = 10e9;
  result.limit = limit_of(result.work, {result.read_rate, result.flop_rate});
  const std::vector<Column> columns = sweep_columns({made_case()});
  const std::vector<Value> row = sweep_row(made_case(), result, true);
  REQUIRE(row.size() == columns.size());
  const auto value = [&](const char* key) { return row[index_of(columns, key)]; };
  for (const char* key : {"threads", "huge_page_percent", "cpu_lost_percent"}) {
    CAPTURE(key);
    CHECK(std::holds_alternative<std::monostate>(value(key)));
  }
  CHECK(std::get<std::string>(value("limited_by")) == "bf16 mma.sync");
  CHECK(std::get<double>(value("limit_us")) == doctest::Approx(6400.0));
  CHECK(std::get<std::string>(value("backend")) == "cuda");
}

TEST_CASE("values stand under their columns, in the units that the keys say") {
  const SweepCase c = made_case();
  const std::vector<Column> columns = sweep_columns({c});
  const std::vector<Value> row = sweep_row(c, made_result(), true);
  REQUIRE(row.size() == columns.size());
  const auto number = [&](const char* key) {
    return std::get<double>(row[index_of(columns, key)]);
  };
  CHECK(number("median_us") == doctest::Approx(1000.0));
  CHECK(number("p10_us") == doctest::Approx(900.0));
  CHECK(number("p90_us") == doctest::Approx(1500.0));
  CHECK(number("noise_percent") == doctest::Approx(2.0));
  CHECK(number("cpu_lost_percent") == doctest::Approx(25.0));
  CHECK(number("kv_gbps") == doctest::Approx(16.0));
  CHECK(number("gflops") == doctest::Approx(64.0));
  CHECK(number("limit_us") == doctest::Approx(800.0));
  CHECK(number("limit_percent") == doctest::Approx(80.0));
  CHECK(number("read_probe_gbps") == doctest::Approx(20.0));
  CHECK(number("multiply_probe_gflops") == doctest::Approx(100.0));
  const auto text = [&](const char* key) {
    return std::get<std::string>(row[index_of(columns, key)]);
  };
  CHECK(text("limited_by") == "read");
  CHECK(text("arithmetic") == "bf16 dot");
  CHECK(text("heads") == "32/8");
  CHECK(text("dtype") == "bf16");
  CHECK(text("isa") == "avx2");
  CHECK(text("cache") == "cold");
  const auto whole = [&](const char* key) {
    return std::get<int64_t>(row[index_of(columns, key)]);
  };
  CHECK(whole("page_size") == 16);
  CHECK(whole("kv_len") == 4096);
  CHECK(whole("threads") == 2);
  CHECK(whole("copies") == 33);
  CHECK(whole("huge_page_percent") == 99);
}

TEST_CASE("figures of masks") {
  SweepCase c = made_case();
  c.mask = "causal";
  c.score = "alibi";
  SweepResult result = made_result();
  result.work.flops = work_of(dense_case(c)).flops / 4;
  result.seconds.median = 0.5;
  result.beside_rate = static_cast<double>(result.work.flops);
  result.plan = {.seconds = {.median = 0.002}, .repeats = 3, .run_bytes = 77, .bytes = 99};
  CHECK(sparsity_of(c, result.work) == doctest::Approx(0.75));
  const std::vector<Column> columns = sweep_columns({c});
  const std::vector<Value> row = sweep_row(c, result, true);
  REQUIRE(row.size() == columns.size());
  const auto at = [&](const char* key) { return row[index_of(columns, key)]; };
  CHECK(std::get<std::string>(at("mask")) == "causal");
  CHECK(std::get<std::string>(at("score")) == "alibi");
  CHECK(std::get<double>(at("dense_percent")) == doctest::Approx(200.0));
  CHECK(std::get<double>(at("plan_ms")) == doctest::Approx(2.0));
  CHECK(std::get<int64_t>(at("run_bytes")) == 77);
  CHECK(std::get<double>(at("sparsity_percent")) == doctest::Approx(75.0));
  CHECK(std::get<int64_t>(at("tile_scores")) == int64_t{4096} * 32 / 4);
  CHECK(columns[index_of(columns, "plan_ms")].in_table);
  CHECK_FALSE(sweep_columns({made_case()})[index_of(columns, "plan_ms")].in_table);
}

TEST_CASE("a row that multiplies longer than it reads says with what") {
  SweepResult result = made_result();
  result.flop_rate = 50e9;
  result.limit = limit_of(result.work, {result.read_rate, result.flop_rate});
  const std::vector<Column> columns = sweep_columns({made_case()});
  const std::vector<Value> row = sweep_row(made_case(), result, true);
  CHECK(std::get<std::string>(row[index_of(columns, "limited_by")]) == "bf16 dot");
}

TEST_CASE("what was not measured is empty, not a number") {
  SweepCase c = made_case();
  c.page_size = 0;
  c.layout = KvLayout::kPacked;
  SweepResult result = made_result();
  result.repeats = 3;
  result.huge_percent = -1;
  result.lost_share = -1.0;
  const std::vector<Column> columns = sweep_columns({c});
  const std::vector<Value> row = sweep_row(c, result, false);
  for (const char* key :
       {"page_size", "window", "noise_percent", "cpu_lost_percent", "huge_page_percent"}) {
    CAPTURE(key);
    CHECK(std::holds_alternative<std::monostate>(row[index_of(columns, key)]));
  }
}

TEST_CASE("the table shows what some row sets") {
  std::vector<SweepCase> cases{made_case(), made_case()};
  const char* const keys[] = {"causal", "window", "softcap", "head_dim_v", "ragged"};
  for (const char* key : keys) {
    const std::vector<Column> columns = sweep_columns(cases);
    CAPTURE(key);
    CHECK_FALSE(columns[index_of(columns, key)].in_table);
  }
  cases[1].causal = true;
  cases[1].window = 1;
  cases[1].ragged = 64;
  cases[1].softcap = 30.0f;
  cases[1].head_dim_v = 64;
  for (const char* key : keys) {
    const std::vector<Column> columns = sweep_columns(cases);
    CAPTURE(key);
    CHECK(columns[index_of(columns, key)].in_table);
  }
}

}  // namespace
}  // namespace attnrt::perf
