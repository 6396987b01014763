// SPDX-License-Identifier: Apache-2.0
// `attnrt-perf lines` from its command line to its report and exit code.
#include "perf/lines_command.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stop_token>
#include <string>
#include <vector>

#include "perf/cli.hpp"

namespace attnrt::perf {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

Outcome lines(const std::vector<std::string>& options, const std::stop_token& stop = {}) {
  std::vector<const char*> argv{"attnrt-perf", "lines"};
  for (const std::string& option : options) argv.push_back(option.c_str());
  std::ostringstream out;
  std::ostringstream err;
  CommandIo io{out, err, stop, false};
  const int exit_code = run_main(static_cast<int>(argv.size()), argv.data(), io);
  return {exit_code, out.str(), err.str()};
}

TEST_CASE("the list names rows and lines and measures nothing") {
  const Outcome outcome = lines({"--list", "--only", "latency,decode-g16"});
  CHECK(outcome.exit_code == kExitOk);
  CHECK(std::count(outcome.out.begin(), outcome.out.end(), '\n') == 2);
  CHECK(outcome.out.find("decode-g16 ") == 0);
  CHECK(outcome.out.find("<= 20 us above the limit") != std::string::npos);
}

TEST_CASE("a row is measured and judged, whatever it says") {
  const Outcome outcome = lines({"--only", "latency", "--quick", "--rotation", "64m", "--commit",
                                 "abc123", "--format", "json"});
  const auto json = nlohmann::json::parse(outcome.out);
  CHECK(json.at("environment").at("commit") == "abc123");
  CHECK(json.at("environment").at("date").get<std::string>().size() == 10);
  REQUIRE(json.at("rows").size() == 1);
  const auto& row = json["rows"][0];
  CHECK(row.at("row") == "latency");
  CHECK(row.at("line_value") == 20);
  const double above = row.at("median_us").get<double>() - row.at("limit_us").get<double>();
  CHECK(row.at("measured_value").get<double>() == doctest::Approx(above));
  CHECK(row.at("met").get<bool>() == (above <= 20.0));
  CHECK(outcome.exit_code == (above <= 20.0 ? kExitOk : kExitFailed));
}

TEST_CASE("the lines of masks are a table of their own; rows that only plan need no kernel") {
  const Outcome list = lines({"--masks", "--list", "--only", "fm"});
  CHECK(std::count(list.out.begin(), list.out.end(), '\n') == 12);
  const Outcome outcome =
      lines({"--masks", "--only", "plan-tracks", "--quick", "--format", "json"});
  const auto json = nlohmann::json::parse(outcome.out);
  REQUIRE(json.at("rows").size() == 2);
  const auto& row = json["rows"][0];
  CHECK(row.at("row") == "plan-tracks");
  CHECK(row.at("isa").is_null());
  CHECK(row.at("run_bytes").get<int64_t>() > 0);
  CHECK(row.at("plan_ms").get<double>() * 1e3 ==
        doctest::Approx(row.at("median_us").get<double>()));
  CHECK(row.at("met").get<bool>() == (row.at("plan_ms").get<double>() <= 1.0));
}

TEST_CASE("Markdown is the default") {
  const Outcome outcome = lines({"--only", "latency", "--quick", "--rotation", "64m"});
  CHECK(outcome.out.starts_with("- attnrt-perf: "));
  CHECK(outcome.out.find("\n| row | work | layout | line | measured | met |") != std::string::npos);
  CHECK(outcome.out.find(" of 1 lines are met.\n") != std::string::npos);
}

TEST_CASE("Ctrl-C ends with what was measured so far") {
  std::stop_source stop;
  stop.request_stop();
  const Outcome outcome = lines({"--only", "latency", "--rotation", "64m"}, stop.get_token());
  CHECK(outcome.exit_code == kExitInterrupted);
  CHECK(outcome.out.find("interrupted: 0 of 1 rows were measured") != std::string::npos);
}

struct Refusal {
  std::vector<std::string> options;
  std::string text;  // in the message
};

TEST_CASE("bad input ends with one line, exit code 2 and no report") {
  const Refusal refusals[] = {
      {{"--only", "decode-g"}, "no row is 'decode-g'"},
      {{"--only", "latency", "--masks"}, "no row is 'latency'"},
      {{"--only", "latency,,varlen"}, "--only"},
      {{"--only", ""}, "--only is empty"},
      {{"--layout", "packed"}, "--layout is 'packed'"},
      {{"--layout", "square"}, "--layout"},
      {{"--noise", "0"}, "--noise"},
      {{"--max-seconds", "0"}, "--max-seconds"},
      {{"--rotation", "big"}, "--rotation"},
      {{"--output", "/nonexistent/report.md"}, "--output"},
  };
  for (const Refusal& refusal : refusals) {
    CAPTURE(refusal.options.front());
    const Outcome outcome = lines(refusal.options);
    CHECK(outcome.exit_code == kExitBadInput);
    CHECK(outcome.out.empty());
    CAPTURE(outcome.err);
    CHECK(outcome.err.find(refusal.text) != std::string::npos);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  }
}

}  // namespace
}  // namespace attnrt::perf
