// SPDX-License-Identifier: Apache-2.0
// `attnrt-perf sweep` from its command line to its report and exit code.
#include "perf/sweep_command.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "perf/cli.hpp"
#include "tests/perf/cuda_here.hpp"

namespace attnrt::perf {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

Outcome sweep(const std::vector<std::string>& options, const std::stop_token& stop = {}) {
  std::vector<const char*> argv{"attnrt-perf", "sweep"};
  for (const std::string& option : options) argv.push_back(option.c_str());
  std::ostringstream out;
  std::ostringstream err;
  CommandIo io{out, err, stop, false};
  const int exit_code = run_main(static_cast<int>(argv.size()), argv.data(), io);
  return {exit_code, out.str(), err.str()};
}

// Small, hot and short, unless `more` says otherwise.
std::vector<std::string> tiny(std::vector<std::string> more) {
  const std::pair<const char*, const char*> defaults[] = {
      {"--cache", "hot"}, {"--heads", "4/2"},        {"--head-dim", "32"},
      {"--kv-len", "64"}, {"--max-seconds", "0.02"}, {"--threads", "1"}};
  for (const auto& [option, value] : defaults) {
    if (std::find(more.begin(), more.end(), option) != more.end()) continue;
    more.emplace_back(option);
    more.emplace_back(value);
  }
  return more;
}

nlohmann::json rows_of(const Outcome& outcome) {
  INFO(outcome.err);
  REQUIRE(outcome.exit_code == kExitOk);
  return nlohmann::json::parse(outcome.out).at("rows");
}

TEST_CASE("rows have what the report promises, all finite") {
  const nlohmann::json rows = rows_of(sweep(tiny({"--format", "json", "--batch", "1,3"})));
  REQUIRE(rows.size() == 2);
  for (const nlohmann::json& row : rows) {
    for (const char* key : {"median_us", "p10_us", "p90_us", "kv_gbps", "gflops", "limit_percent",
                            "limit_us", "read_probe_gbps", "multiply_probe_gflops"}) {
      CAPTURE(key);
      REQUIRE(row.at(key).is_number());
      CHECK(std::isfinite(row.at(key).get<double>()));
      CHECK(row.at(key).get<double>() > 0.0);
    }
    CHECK(row.at("p10_us") <= row.at("median_us"));
    CHECK(row.at("median_us") <= row.at("p90_us"));
    const double seconds = row.at("median_us").get<double>() * 1e-6;
    const double kv_bytes = row.at("batch").get<double>() * 64 * 2 * (32 + 32) * 2;
    CHECK(row.at("kv_bytes").get<double>() == kv_bytes);
    CHECK(row.at("kv_gbps").get<double>() == doctest::Approx(kv_bytes / seconds * 1e-9));
    CHECK(row.at("gflops").get<double>() ==
          doctest::Approx(row.at("flops").get<double>() / seconds * 1e-9));
    CHECK(row.at("limit_percent").get<double>() ==
          doctest::Approx(100.0 * row.at("limit_us").get<double>() /
                          row.at("median_us").get<double>()));
    CHECK(row.at("cache") == "hot");
    CHECK(row.at("copies") == 1);
    CHECK(row.at("repeats") >= 7);
  }
}

TEST_CASE("every dtype, layout and mask runs from end to end, in less than a second") {
  const auto begin = std::chrono::steady_clock::now();
  const nlohmann::json rows = rows_of(sweep(
      tiny({"--format",      "json", "--dtype",  "f32,bf16,f16", "--layout",  "nhd,hnd,varlen",
            "--page-size",   "5,16", "--causal", "off,on",       "--q-len",   "1,kv",
            "--kv-len",      "16",   "--window", "none,3",       "--softcap", "20",
            "--max-seconds", "0.001"})));
  CHECK(rows.size() == 3 * (2 + 2 + 1) * 2 * 2 * 2);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  // Sanitizers take ten times as long.
  CHECK(seconds.count() < 60.0);
}

TEST_CASE("cold K and V rotate over more than the last-level cache") {
  const Outcome outcome =
      sweep({"--heads", "2/1", "--head-dim", "64", "--kv-len", "16k", "--max-seconds", "0.05",
             "--threads", "1", "--rotation", "64m", "--format", "json"});
  const nlohmann::json rows = rows_of(outcome);
  const auto environment = nlohmann::json::parse(outcome.out).at("environment");
  const nlohmann::json& row = rows.at(0);
  CHECK(row.at("cache") == "cold");
  CHECK(row.at("copies") >= 2);
  const auto rotation = row.at("rotation_bytes").get<int64_t>();
  CHECK(rotation == row.at("copies").get<int64_t>() * 16 * 1024 * 128 * 2);
  CHECK(rotation >= 2 * (environment.at("last_level_cache_mb").get<int64_t>() << 20));
  CHECK(row.at("huge_page_percent") >= 0);
  CHECK(row.at("huge_page_percent") <= 100);
}

TEST_CASE("a mask's row has its plan, its work in tiles, and the dense call beside it") {
  const nlohmann::json rows =
      rows_of(sweep(tiny({"--backend", "reference", "--format", "json", "--q-len", "kv", "--kv-len",
                          "256", "--mask", "kv <= q && min(q, kv) < 70,tracks"})));
  REQUIRE(rows.size() == 2);
  const nlohmann::json& row = rows[0];
  CHECK(row.at("mask") == "kv <= q && min(q, kv) < 70");
  CHECK(row.at("tile_scores") == 4 * 7 * 64 * 64);
  CHECK(row.at("flops").get<int64_t>() == 4 * 7 * 64 * 64 * 2 * (32 + 32));
  CHECK(row.at("sparsity_percent").get<double>() == doctest::Approx(100.0 * 9 / 16));
  CHECK(row.at("plan_ms").get<double>() > 0.0);
  CHECK(row.at("run_bytes").get<int64_t>() > 0);
  CHECK(row.at("dense_percent").get<double>() > 0.0);
  CHECK(rows[1].at("mask") == "tracks");
}

TEST_CASE("a score's row has the dense call beside it, and no plan to speak of") {
  const nlohmann::json rows = rows_of(sweep(
      tiny({"--backend", "reference", "--format", "json", "--score", "bias-table,score * 2"})));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].at("score") == "bias-table");
  CHECK(rows[0].at("dense_percent").get<double>() > 0.0);
  CHECK(rows[0].at("plan_ms").is_null());
  CHECK(rows[0].at("tile_scores").is_null());
  CHECK(rows_of(sweep(tiny({"--format", "json"})))[0].at("dense_percent").is_null());
}

TEST_CASE("the table is for people, CSV for programs") {
  const Outcome table = sweep(tiny({}));
  CHECK(table.exit_code == kExitOk);
  CHECK(table.out.find("of limit") != std::string::npos);
  CHECK(table.out.find("causal") == std::string::npos);  // the same in all rows
  CHECK(sweep(tiny({"--causal"})).out.find("causal") != std::string::npos);
  const Outcome csv = sweep(tiny({"--format", "csv"}));
  CHECK(csv.exit_code == kExitOk);
  CHECK(csv.out.find("\ndtype,heads,head_dim,") != std::string::npos);
  CHECK(csv.out.find(",limit_percent,") != std::string::npos);
}

struct Refusal {
  std::vector<std::string> options;
  std::string text;  // in the message
};

TEST_CASE("bad input ends with one line, exit code 2 and no report") {
  const Refusal refusals[] = {
      {{"--kv-len", "4x"}, "--kv-len"},
      {{"--kv-len", "1:8"}, "--kv-len: '1:8' needs a step"},
      {{"--q-len", "0"}, "--q-len"},
      {{"--batch", ""}, "--batch"},
      {{"--heads", "32/5"}, "--heads"},
      {{"--heads", "32"}, "--heads"},
      {{"--head-dim", "9999"}, "--head-dim"},
      {{"--dtype", "int8"}, "--dtype"},
      {{"--layout", "nhdx"}, "--layout"},
      {{"--page-size", "0"}, "--page-size"},
      {{"--layout", "packed16", "--page-size", "24"}, "multiple of 16 keys"},
      {{"--threads", "0"}, "--threads"},
      {{"--threads", ""}, "--threads is empty"},
      {{"--rotation", ""}, "--rotation is empty"},
      {{"--ragged", "8k", "--kv-len", "4k"}, "ragged lengths"},
      {{"--isa", "sse9"}, "sse9"},
      {{"--backend", "tpu"}, "tpu"},
      {{"--causal", "maybe"}, "--causal"},
      {{"--window", "some"}, "--window"},
      {{"--softcap", "-1"}, "--softcap"},
      {{"--mask", "cauzal"}, "--mask is 'cauzal'"},
      {{"--mask", "kv <="}, "column 6"},
      {{"--mask", "causal,,none"}, "an item is empty"},
      {{"--score", "kv <= q"}, "--score is 'kv <= q'"},
      {{"--mask", "causal", "--kv-len", "32"}, "64 keys or more"},
      {{"--cache", "warm"}, "--cache"},
      {{"--noise", "0"}, "--noise"},
      {{"--max-seconds", "0"}, "--max-seconds"},
      {{"--rotation", "big"}, "--rotation"},
      {{"--format", "xml"}, "--format"},
      {{"--output", "/nonexistent/report.json"}, "--output"},
      {{"--no-such-option"}, "--no-such-option"},
      {{"--causal", "--q-len", "2k", "--kv-len", "1k"}, "more queries than keys"},
  };
  for (const Refusal& refusal : refusals) {
    CAPTURE(refusal.options.front());
    const Outcome outcome = sweep(refusal.options);
    CHECK(outcome.exit_code == kExitBadInput);
    CHECK(outcome.out.empty());
    CAPTURE(outcome.err);
    CHECK(outcome.err.find(refusal.text) != std::string::npos);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  }
}

TEST_CASE("--backend cuda: what it lacks is refused by name, with or without a GPU") {
  const Refusal refusals[] = {
      {{"--dtype", "f32"}, "not f32"},
      {{"--layout", "packed16"}, "not packed16"},
      {{"--head-dim", "576"}, "head dims up to 256"},
      {{"--threads", "2"}, "--threads is of the CPU"},
      {{"--isa", "avx2"}, "--isa is of the CPU"},
  };
  for (const Refusal& refusal : refusals) {
    std::vector<std::string> options = refusal.options;
    options.insert(options.end(), {"--backend", "cuda"});
    const Outcome outcome = sweep(options);
    CAPTURE(outcome.err);
    CHECK(outcome.exit_code == kExitBadInput);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.find(refusal.text) != std::string::npos);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  }
}

TEST_CASE("--backend cuda without a GPU is one line that says why, exit code 2 and no report") {
  if (cuda_is_here()) return;
  for (const char* dtypes : {"bf16", "bf16,f32"}) {
    const Outcome outcome = sweep({"--backend", "cuda", "--dtype", dtypes});
    CAPTURE(outcome.err);
    CHECK(outcome.exit_code == kExitBadInput);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.starts_with("attnrt-perf: --backend is 'cuda'"));
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  }
}

TEST_CASE("one impossible combination among others is named and the others are measured") {
  const Outcome outcome =
      sweep(tiny({"--format", "json", "--causal", "--q-len", "1,2k", "--kv-len", "64"}));
  CHECK(rows_of(outcome).size() == 1);
  CHECK(outcome.err.find("skipped") != std::string::npos);
  CHECK(outcome.err.find("q 2048 kv 64") != std::string::npos);
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
}

TEST_CASE("a row that does not fit the memory is named") {
  const Outcome outcome = sweep(
      {"--cache", "hot", "--batch", "512", "--kv-len", "1m", "--heads", "32/32", "--threads", "1"});
  CHECK(outcome.exit_code == kExitBadInput);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.find("MB of memory") != std::string::npos);
}

TEST_CASE("Ctrl-C ends with what was measured so far") {
  std::stop_source stop;
  stop.request_stop();
  const Outcome outcome = sweep(tiny({"--format", "json"}), stop.get_token());
  CHECK(outcome.exit_code == kExitInterrupted);
  CHECK(nlohmann::json::parse(outcome.out).at("rows").empty());
}

}  // namespace
}  // namespace attnrt::perf
