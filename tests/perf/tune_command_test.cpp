// SPDX-License-Identifier: Apache-2.0
// `attnrt-perf tune` from its command line to its report and exit code.
#include "perf/tune_command.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stop_token>
#include <string>
#include <vector>

#include "attnrt/runtime.hpp"
#include "perf/cli.hpp"

namespace attnrt::perf {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

Outcome tune(const std::vector<std::string>& options, const std::stop_token& stop = {}) {
  std::vector<const char*> argv{"attnrt-perf", "tune",          "--rotation",
                                "64m",         "--max-seconds", "0.01"};
  for (const std::string& option : options) argv.push_back(option.c_str());
  std::ostringstream out;
  std::ostringstream err;
  CommandIo io{out, err, stop, false};
  const int exit_code = run_main(static_cast<int>(argv.size()), argv.data(), io);
  return {exit_code, out.str(), err.str()};
}

TEST_CASE("all tables that run here but the last are compared, and the default among them") {
  const Outcome json = tune({"--rows", "1,8", "--format", "json"});
  INFO(json.err);
  REQUIRE(json.exit_code == kExitOk);
  const auto rows = nlohmann::json::parse(json.out).at("rows");
  REQUIRE(rows.size() == 2);
  size_t tables = 0;
  const std::vector<Capability> isas = Runtime::isas();
  for (const Capability& isa : isas) {
    const bool there = rows[0].contains(isa.name + "_us");
    const bool last = isa.name == isas.back().name;
    if (!last) CHECK(there == isa.available);
    if (there) CHECK(rows[1].at(isa.name + "_us").get<double>() > 0.0);
    tables += there ? 1 : 0;
  }
  CHECK(rows[0].size() == 1 + 2 * tables);

  const Outcome table = tune({"--rows", "1"});
  CHECK(table.out.find("1 rows: ") != std::string::npos);
  CHECK(table.out.find("default (") != std::string::npos);
  CHECK(table.out.find("bf16 dot over f32 FMA") != std::string::npos);
}

TEST_CASE("Ctrl-C ends with what was measured so far") {
  std::stop_source stop;
  stop.request_stop();
  const Outcome outcome = tune({"--format", "json"}, stop.get_token());
  CHECK(outcome.exit_code == kExitInterrupted);
  CHECK(nlohmann::json::parse(outcome.out).at("rows").empty());
}

struct Refusal {
  std::vector<std::string> options;
  std::string text;  // in the message
};

TEST_CASE("bad input ends with one line, exit code 2 and no report") {
  const Refusal refusals[] = {
      {{"--isa", "mmx"}, "mmx"},         {{"--rows", "33"}, "--rows"},
      {{"--rows", "0"}, "--rows"},       {{"--dtype", "int8"}, "--dtype"},
      {{"--threads", "0"}, "--threads"}, {{"--isa", ""}, "--isa is empty"},
  };
  for (const Refusal& refusal : refusals) {
    CAPTURE(refusal.options.front());
    const Outcome outcome = tune(refusal.options);
    CHECK(outcome.exit_code == kExitBadInput);
    CHECK(outcome.out.empty());
    CAPTURE(outcome.err);
    CHECK(outcome.err.find(refusal.text) != std::string::npos);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  }
}

}  // namespace
}  // namespace attnrt::perf
