// SPDX-License-Identifier: Apache-2.0
// The program around the subcommands: help, version, exit codes.
#include "perf/cli.hpp"

#include <doctest/doctest.h>

#include <sstream>
#include <string>
#include <vector>

#include "attnrt/runtime.hpp"

namespace perf = attnrt::perf;

namespace {

struct Outcome {
  int code = -1;
  std::string out, err;
};

Outcome run(std::vector<const char*> words) {
  words.insert(words.begin(), "attnrt-perf");
  std::ostringstream out, err;
  perf::CommandIo io{out, err, {}};
  const int code = perf::run_main(static_cast<int>(words.size()), words.data(), io);
  return {code, out.str(), err.str()};
}

}  // namespace

TEST_CASE("help names the subcommands, and each has a help of its own") {
  const Outcome outcome = run({"--help"});
  CHECK(outcome.code == 0);
  CHECK(outcome.out.find("replay") != std::string::npos);
  CHECK(outcome.out.find("sweep") != std::string::npos);
  CHECK(outcome.out.find("lines") != std::string::npos);
  CHECK(outcome.err.empty());
  const Outcome replay = run({"replay", "--help"});
  CHECK(replay.code == 0);
  for (const char* option : {"--trace", "--model", "--layers", "--chunk", "--check", "--format"}) {
    CAPTURE(option);
    CHECK(replay.out.find(option) != std::string::npos);
  }
}

TEST_CASE("the version is the library's") {
  const Outcome outcome = run({"--version"});
  CHECK(outcome.code == 0);
  CHECK(outcome.out == "attnrt-perf " + std::string(attnrt::Runtime::version()) + "\n");
}

TEST_CASE("no, an unknown or a misplaced word is one line and exit code 2") {
  for (const std::vector<const char*>& words :
       {std::vector<const char*>{}, {"fly"}, {"--fly"}, {"replay", "fly"}, {"replay", "--fly"}}) {
    const Outcome outcome = run(words);
    CHECK(outcome.code == perf::kExitBadInput);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.starts_with("attnrt-perf: "));
    CHECK(outcome.err.find('\n') == outcome.err.size() - 1);
    if (!words.empty()) CHECK(outcome.err.find("fly") != std::string::npos);
  }
}
