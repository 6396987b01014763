// SPDX-License-Identifier: Apache-2.0
// Trace formats: made fixtures of all three, exact complaints, and the real files where they are.
#include "perf/traces.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <sstream>
#include <string>

#include "perf/cli.hpp"
#include "tests/perf/real_traces.hpp"

namespace perf = attnrt::perf;
using perf::BadInput;

namespace {

constexpr int64_t kAll = INT64_MAX;

perf::Trace parse(const std::string& text, int64_t max_requests = kAll) {
  std::istringstream in(text);
  return perf::parse_trace(in, "t", max_requests);
}

std::string complaint(const std::string& text) {
  try {
    (void)parse(text);
  } catch (const BadInput& error) {
    return error.what();
  }
  return "accepted";
}

const std::string kAzure = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n";
const std::string kVidur = "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n";

}  // namespace

TEST_CASE("Azure CSV with CRLF, no line end at the end, seven digits of a second") {
  const perf::Trace trace = parse(kAzure +
                                  "2023-11-16 18:15:46.6805900,374,44\r\n"
                                  "2023-11-16 18:15:50.9951690,396,109\r\n"
                                  "2023-11-17 00:00:00,1,0");
  CHECK(trace.format == "azure");
  REQUIRE(trace.requests.size() == 3);
  CHECK(trace.requests[0].arrival_seconds == 0.0);
  CHECK(trace.requests[0].prompt_tokens == 374);
  CHECK(trace.requests[1].output_tokens == 109);
  CHECK(trace.requests[1].arrival_seconds == doctest::Approx(4.314579).epsilon(1e-7));
  CHECK(trace.requests[2].arrival_seconds == doctest::Approx(20653.31941).epsilon(1e-9));
  CHECK(trace.requests[2].output_tokens == 0);
}

TEST_CASE("Azure times with a zone") {
  const perf::Trace trace = parse(kAzure +
                                  "2024-05-10 00:00:00.009930+00:00,1,1\n"
                                  "2024-05-10 01:00:01.009930+01:00,1,1\n");
  CHECK(trace.requests[1].arrival_seconds == doctest::Approx(1.0));
}

TEST_CASE("Mooncake JSONL") {
  const perf::Trace trace = parse(
      "{\"timestamp\": 3000, \"input_length\": 6758, \"output_length\": 500, \"hash_ids\": [0]}\n"
      "{\"timestamp\": 3500, \"input_length\": 7, \"output_length\": 1, \"hash_ids\": []}\n");
  CHECK(trace.format == "mooncake");
  REQUIRE(trace.requests.size() == 2);
  CHECK(trace.requests[0].prompt_tokens == 6758);
  CHECK(trace.requests[0].output_tokens == 500);
  CHECK(trace.requests[1].arrival_seconds == doctest::Approx(0.5));
}

TEST_CASE("Vidur CSV") {
  const perf::Trace trace = parse(kVidur + "3772,54,3826,69.85\n\n2015,156,2171,12.9\n");
  CHECK(trace.format == "vidur");
  REQUIRE(trace.requests.size() == 2);
  CHECK(trace.requests[1].prompt_tokens == 2015);
  CHECK(trace.requests[1].output_tokens == 156);
  CHECK(trace.requests[1].arrival_seconds == 0.0);
}

TEST_CASE("reading stops at the number of requests asked for") {
  const perf::Trace trace = parse(kVidur + "1,1,2,1\n2,1,3,2\nnot a line at all\n", 2);
  CHECK(trace.requests.size() == 2);
}

TEST_CASE("a byte order mark is no content") {
  CHECK(parse("\xef\xbb\xbf" + kVidur + "5,1,6,5\n").requests.size() == 1);
}

TEST_CASE("malformed lines are named by number and content") {
  CHECK(complaint(kAzure + "2023-11-16 18:15:46.68,374,44\r\n2023-11-16 18:15:47.1,5\r\n") ==
        "t:3: expected 3 fields, got 2: '2023-11-16 18:15:47.1,5'");
  CHECK(complaint(kAzure + "2023-11-16 18:15:46,374,44,9\r\n") ==
        "t:2: expected 3 fields, got 4: '2023-11-16 18:15:46,374,44,9'");
  CHECK(complaint(kAzure + "2023-11-16 18:15:46,x,44\n") ==
        "t:2: ContextTokens is no whole number: '2023-11-16 18:15:46,x,44'");
  CHECK(complaint(kAzure + "2023-11-16 18:15:46,1,-4\n") ==
        "t:2: GeneratedTokens is -4, it must be 0 to 16777216: '2023-11-16 18:15:46,1,-4'");
  CHECK(complaint(kAzure + "2023-11-16 18:15:46,0,4\n") ==
        "t:2: ContextTokens is 0, it must be 1 to 16777216: '2023-11-16 18:15:46,0,4'");
  CHECK(complaint(kVidur + "1,2,3\n") == "t:2: expected 4 fields, got 3: '1,2,3'");
  CHECK(complaint(kVidur + "16777216,1,3,4\n") ==
        "t:2: prompt and output is 16777217, it must be 1 to 16777216: '16777216,1,3,4'");
  CHECK(complaint("{\"timestamp\": 1}\n") ==
        "t:1: no field \"input_length\": '{\"timestamp\": 1}'");
  CHECK(complaint("{\"timestamp\": 1\n") == "t:1: not a JSON object: '{\"timestamp\": 1'");
  CHECK(complaint("{\"input_length\": 1}\n") ==
        "t:1: no number \"timestamp\": '{\"input_length\": 1}'");
  CHECK(complaint("{\"timestamp\": 1, \"input_length\": 1.5}\n") ==
        "t:1: \"input_length\" is no whole number: '{\"timestamp\": 1, \"input_length\": 1.5}'");
}

TEST_CASE("times that do not exist are refused") {
  for (const char* time :
       {"2023-13-16 18:15:46", "2023-02-30 18:15:46", "2023-11-16 24:15:46", "2023-11-16 18:60:46",
        "2023-11-16T18:15:46", "2023-11-16", "", "2023-11-16 18:15:46.", "2023-11-16 18:15:46.5x",
        "-023-11-16 18:15:46", "2023-11-16 18:15:46+0100"}) {
    CAPTURE(time);
    const std::string line = std::string(time) + ",1,1";
    CHECK(complaint(kAzure + line + "\n") ==
          "t:2: TIMESTAMP is not like 2023-11-16 18:15:46.6805900: '" + line + "'");
  }
}

TEST_CASE("numbers that overflow are refused") {
  CHECK(complaint(kVidur + "99999999999999999999,1,1,1\n").starts_with("t:2: num_prefill_tokens"));
  CHECK(complaint("{\"timestamp\": 0, \"input_length\": 18446744073709551615}")
            .starts_with("t:1: \"input_length\" is too large"));
}

TEST_CASE("what is no trace is refused") {
  CHECK(complaint("") == "t: no requests in it");
  CHECK(complaint("\n \n") == "t: no requests in it");
  CHECK(complaint(kAzure) == "t: no requests in it");
  CHECK(complaint("hello\n") ==
        "t:1: not a trace: expected the header of an Azure or Vidur CSV or a Mooncake JSON object: "
        "'hello'");
}

TEST_CASE("long and binary lines are shown short and printable") {
  const std::string message = complaint(std::string("\x01\x7f") + std::string(500, 'a') + "\n");
  CHECK(message.find("'\\x01\\x7faaa") != std::string::npos);
  CHECK(message.size() < 250);
  CHECK(message.ends_with("..'"));
}

TEST_CASE("files that cannot be read are refused") {
  CHECK_THROWS_WITH_AS((void)perf::read_trace("/nowhere/at/all", kAll),
                       "--trace: cannot read '/nowhere/at/all': No such file or directory",
                       BadInput);
  CHECK_THROWS_WITH_AS((void)perf::read_trace("/", kAll), "--trace: '/' is a folder", BadInput);
}

TEST_CASE("the real traces hold what their documentation says") {
  const std::filesystem::path folder = perf::real_traces();
  if (folder.empty()) {
    MESSAGE(std::string(perf::kNoRealTraces));
    return;
  }
  struct File {
    const char* name;
    const char* format;
    size_t requests;
  };
  for (const File& file : {File{"AzureLLMInferenceTrace_conv.csv", "azure", 19366},
                           File{"AzureLLMInferenceTrace_code.csv", "azure", 8819},
                           File{"mooncake_conversation_trace.jsonl", "mooncake", 12031},
                           File{"vidur_arxiv_summarization.csv", "vidur", 28257}}) {
    CAPTURE(file.name);
    const perf::Trace trace = perf::read_trace((folder / file.name).string(), kAll);
    CHECK(trace.format == file.format);
    CHECK(trace.requests.size() == file.requests);
  }
}
