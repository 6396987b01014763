// SPDX-License-Identifier: Apache-2.0
// The command line of `simulate`, in process.
#include "perf/simulate_command.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <stop_token>
#include <string>
#include <vector>

#include "tests/perf/real_traces.hpp"

namespace attnrt::perf {
namespace {

struct Outcome {
  int code = -1;
  std::string out, err;
};

Outcome run(std::vector<const char*> words, const std::stop_token& stop = {}) {
  words.insert(words.begin(), {"attnrt-perf", "simulate"});
  std::ostringstream out, err;
  CommandIo io{out, err, stop};
  const int code = run_main(static_cast<int>(words.size()), words.data(), io);
  return {code, out.str(), err.str()};
}

nlohmann::json rows_of(const Outcome& outcome) {
  CHECK(outcome.err == "");
  REQUIRE(outcome.code == kExitOk);
  return nlohmann::json::parse(outcome.out).at("rows");
}

TEST_CASE("a table for people") {
  const Outcome outcome = run({"--max-requests", "8"});
  CHECK(outcome.err == "");
  CHECK(outcome.code == kExitOk);
  for (const char* text : {"128", "with prompts", "balance", "merge", "many: at least 2000"}) {
    CAPTURE(text);
    CHECK(outcome.out.find(text) != std::string::npos);
  }
}

TEST_CASE("a row for every kind of layer, number of threads and kind of batch") {
  const nlohmann::json rows = rows_of(run(
      {"--model", "gemma-2-9b", "--threads", "1,4", "--max-requests", "8", "--format", "json"}));
  CHECK(rows.size() == 2 * 2 * 4);
  int64_t steps = 0;
  for (const nlohmann::json& row : rows) {
    steps += row.at("steps").get<int64_t>();
    if (row.at("steps") == 0) {
      CHECK(row.at("balance_max").is_null());
      continue;
    }
    CHECK(row.at("balance_median") >= 0.999);
    if (row.at("threads") == 1) CHECK(row.at("balance_max") <= 1.001);
    CHECK(row.at("plan_us") > 0.0);
  }
  CHECK(steps > 0);
}

TEST_CASE("bad input is one line on stderr and exit code 2") {
  for (const std::vector<const char*>& words :
       std::vector<std::vector<const char*>>{{"--threads", "0"},
                                             {"--threads", "5000"},
                                             {"--threads", "many"},
                                             {"--threads", ""},
                                             {"--trace", "/nowhere/trace.csv"},
                                             {"--model", "gpt-9"},
                                             {"--heads", "8/3"},
                                             {"--head-dim", "64"},
                                             {"--chunk", "0"},
                                             {"--max-batch", "-1"},
                                             {"--max-requests", "0"},
                                             {"--seed", "x"},
                                             {"--format", "xml"},
                                             {"extra"}}) {
    CAPTURE(words[0]);
    const Outcome outcome = run(words);
    CHECK(outcome.code == kExitBadInput);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.find('\n') == outcome.err.size() - 1);
  }
}

TEST_CASE("Ctrl-C ends it with what it has") {
  std::stop_source stop;
  stop.request_stop();
  const Outcome outcome = run({"--max-requests", "8"}, stop.get_token());
  CHECK(outcome.code == kExitInterrupted);
  CHECK(outcome.out.find("balance") != std::string::npos);
}

TEST_CASE("batches of a real trace with enough pieces are balanced at 128 threads") {
  if (real_traces().empty()) {
    MESSAGE(std::string(kNoRealTraces));
    return;
  }
  const std::string trace = (real_traces() / "mooncake_conversation_trace.jsonl").string();
  for (const nlohmann::json& row :
       rows_of(run({"--trace", trace.c_str(), "--max-requests", "40", "--format", "json"}))) {
    if (row.at("batches").get<std::string>().find("many") == std::string::npos) continue;
    REQUIRE(row.at("steps") > 0);
    CAPTURE(row.at("batches").get<std::string>());
    CHECK(row.at("balance_median") <= 1.03);
    CHECK(row.at("balance_p99") <= 1.06);
  }
}

}  // namespace
}  // namespace attnrt::perf
