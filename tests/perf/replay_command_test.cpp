// SPDX-License-Identifier: Apache-2.0
// The command line of `replay`, in process: what runs, what is refused and with which words.
#include "perf/replay_command.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stop_token>
#include <string>
#include <vector>

#include "perf/cli.hpp"
#include "tests/perf/cuda_here.hpp"
#include "tests/perf/real_traces.hpp"

namespace perf = attnrt::perf;

namespace {

struct Outcome {
  int code = -1;
  std::string out, err;
};

Outcome run(std::vector<const char*> words, std::stop_token stop = {}) {
  words.insert(words.begin(), {"attnrt-perf", "replay"});
  std::ostringstream out, err;
  perf::CommandIo io{out, err, stop};
  const int code = perf::run_main(static_cast<int>(words.size()), words.data(), io);
  return {code, out.str(), err.str()};
}

/// Bad input is one line on stderr, nothing on stdout, exit code 2.
std::string refusal(std::vector<const char*> words) {
  const Outcome outcome = run(std::move(words));
  CHECK(outcome.code == perf::kExitBadInput);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.find('\n') == outcome.err.size() - 1);
  return outcome.err;
}

/// A small run that every test can afford.
std::vector<const char*> small_run(std::vector<const char*> more = {}) {
  std::vector<const char*> words{"--heads", "4/2", "--head-dim", "32", "--max-requests", "3"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content)
      : path_((std::filesystem::temp_directory_path() /
               ("attnrt_trace_" + std::to_string(getpid()) + "_" + std::to_string(count_++)))
                  .string()) {
    std::ofstream(path_) << content;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const char* path() const { return path_.c_str(); }

 private:
  static inline int count_ = 0;
  std::string path_;
};

}  // namespace

TEST_CASE("a small synthetic run as a table") {
  const Outcome outcome = run(small_run({"--check", "5"}));
  CHECK(outcome.err == "");
  CHECK(outcome.code == perf::kExitOk);
  for (const char* text : {"Workload", "synthetic", "requests finished", "step latency p99",
                           "pages in use, at the end", "Share of time", "GB/s"}) {
    CAPTURE(text);
    CHECK(outcome.out.find(text) != std::string::npos);
  }
}

TEST_CASE("JSON has the fields that programs rely on") {
  const Outcome outcome = run(small_run({"--check", "5", "--format", "json", "--isa", "baseline"}));
  REQUIRE(outcome.code == perf::kExitOk);
  const auto json = nlohmann::json::parse(outcome.out);
  CHECK(json.at("environment").at("isa") == "baseline");
  REQUIRE(json.at("rows").size() == 1);
  const auto& row = json["rows"][0];
  CHECK(row.at("median_us") > 0.0);
  CHECK(row.at("kv_gbps") > 0.0);
  CHECK(row.at("gflops") > 0.0);
  CHECK(row.contains("limit_percent"));
  CHECK(row.at("requests") == 3);
  CHECK(row.at("pages_in_use") == 0);
  CHECK(row.at("checked_rows") == 5);
  CHECK(row.at("failed_rows") == 0);
  CHECK(row.at("interrupted") == false);
}

TEST_CASE("traces of all three formats run") {
  const TemporaryFile azure(
      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
      "2023-11-16 18:15:46.6805900,37,4\r\n2023-11-16 18:15:50.9951690,5,9\r\n");
  const TemporaryFile mooncake(
      "{\"timestamp\": 0, \"input_length\": 67, \"output_length\": 5, \"hash_ids\": [0]}\n");
  const TemporaryFile vidur(
      "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n37,5,42,7.4\n");
  for (const TemporaryFile* file : {&azure, &mooncake, &vidur}) {
    const Outcome outcome = run({"--trace", file->path(), "--heads", "2/1", "--head-dim", "16",
                                 "--check", "3", "--format", "csv"});
    CHECK(outcome.err == "");
    CHECK(outcome.code == perf::kExitOk);
  }
  const Outcome timed = run({"--trace", azure.path(), "--heads", "2/1", "--head-dim", "16",
                             "--time-scale", "1000", "--format", "json"});
  CHECK(nlohmann::json::parse(timed.out)["rows"][0]["requests"] == 2);
}

TEST_CASE("the real traces run, checked, and give all pages back") {
  const std::filesystem::path folder = perf::real_traces();
  if (folder.empty()) {
    MESSAGE(std::string(perf::kNoRealTraces));
    return;
  }
  for (const char* name : {"AzureLLMInferenceTrace_conv.csv", "AzureLLMInferenceTrace_code.csv",
                           "mooncake_conversation_trace.jsonl", "vidur_arxiv_summarization.csv"}) {
    CAPTURE(name);
    const std::string file = (folder / name).string();
    const Outcome outcome = run({"--trace", file.c_str(), "--max-requests", "2", "--heads", "2/1",
                                 "--head-dim", "16", "--check", "8", "--format", "json"});
    CHECK(outcome.err == "");
    REQUIRE(outcome.code == perf::kExitOk);
    const auto row = nlohmann::json::parse(outcome.out)["rows"][0];
    CHECK(row.at("requests") == 2);
    CHECK(row.at("pages_in_use") == 0);
    CHECK(row.at("checked_rows") == 8);
  }
}

TEST_CASE("--backend cuda: what it lacks is refused by name, with or without a GPU") {
  const auto of_cuda = [](std::vector<const char*> words) {
    words.insert(words.end(), {"--backend", "cuda"});
    return refusal(words);
  };
  CHECK(of_cuda({"--dtype", "f32"}) ==
        "attnrt-perf: the cuda backend takes bf16 and f16, not f32\n");
  CHECK(of_cuda({"--layout", "packed16"}).find("not packed16") != std::string::npos);
  CHECK(of_cuda({"--heads", "2/1", "--head-dim", "257"}).find("not 257") != std::string::npos);
  CHECK(of_cuda({"--heads", "2/1", "--head-dim", "48", "--head-dim-v", "32", "--mla"})
            .find("prefix of K") != std::string::npos);
  CHECK(of_cuda({"--threads", "2"}).find("--threads is of the CPU") != std::string::npos);
  CHECK(of_cuda({"--isa", "avx2"}).find("--isa is of the CPU") != std::string::npos);
  if (perf::cuda_is_here()) return;
  CHECK(of_cuda({}).starts_with("attnrt-perf: --backend is 'cuda'"));
}

TEST_CASE("bad options are refused by name") {
  CHECK(refusal({"--no-such-option"}).find("--no-such-option") != std::string::npos);
  CHECK(refusal({"--heads", "32/7"}) ==
        "attnrt-perf: --heads is '32/7': 32 query heads are no multiple of 7 KV heads\n");
  CHECK(refusal({"--heads", "-32/8"}) ==
        "attnrt-perf: --heads is '-32/8'; both must be 1 to 65536\n");
  CHECK(refusal({"--heads", "8/8", "--head-dim", "-64"}) ==
        "attnrt-perf: --head-dim is -64; it must be 1 to 65536\n");
  CHECK(refusal({"--model", "nobody"}).find("known: llama-3.1-8b") != std::string::npos);
  CHECK(refusal({"--model", "llama-3.1-8b", "--heads", "8/8"}).find("excludes") !=
        std::string::npos);
  CHECK(refusal({"--head-dim", "64"}).find("requires --heads") != std::string::npos);
  CHECK(refusal({"--dtype", "int3"}) == "attnrt-perf: --dtype is 'int3'; known: f32, bf16, f16\n");
  CHECK(refusal({"--layout", "packed"}) ==
        "attnrt-perf: --layout is 'packed'; a serving cache has pages: nhd, hnd or packed16\n");
  CHECK(refusal({"--format", "xml"}) ==
        "attnrt-perf: --format is 'xml'; known: table, markdown, csv, json\n");
  CHECK(refusal({"--chunk", "0"}).find("--chunk") != std::string::npos);
  CHECK(refusal({"--chunk", "many"}).find("many") != std::string::npos);
  CHECK(refusal({"--page-size", "-16"}).find("--page-size") != std::string::npos);
  CHECK(refusal({"--max-requests", "1000001"}) ==
        "attnrt-perf: --max-requests is 1000001; the synthetic workload has at most 1000000\n");
  CHECK(refusal({"--check", "0"}).find("--check") != std::string::npos);
  for (const char* option : {"--trace", "--model", "--heads", "--isa", "--backend", "--output"}) {
    CHECK(refusal({option, ""}) == "attnrt-perf: " + std::string(option) + " is empty\n");
  }
  CHECK(refusal({"--seed", "-1"}).find("--seed") != std::string::npos);
  CHECK(refusal({"--heads", "2/1", "--window", "-1"}).find("--window") != std::string::npos);
  CHECK(refusal({"--isa", "mmx"}).find("mmx") != std::string::npos);
  CHECK(refusal({"--backend", "abacus"}).find("abacus") != std::string::npos);
  CHECK(refusal({"--trace", "/nowhere"}) ==
        "attnrt-perf: --trace: cannot read '/nowhere': No such file or directory\n");
  CHECK(refusal({"--output", "/nowhere/file"}) ==
        "attnrt-perf: --output: cannot write '/nowhere/file'\n");
}

TEST_CASE("a malformed line is named by number and content") {
  const TemporaryFile file(
      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46,3,4\r\noops\r\n");
  CHECK(refusal({"--trace", file.path()}) ==
        "attnrt-perf: " + std::string(file.path()) + ":3: expected 3 fields, got 1: 'oops'\n");
}

TEST_CASE("a request that cannot fit, a page that cannot fit, a step that cannot fit") {
  CHECK(refusal({"--kv-pages", "2"}).find("raise --kv-gib or --kv-pages") != std::string::npos);
  CHECK(refusal({"--kv-gib", "0.00001"}).find("a page of 16 keys takes 65536 bytes") !=
        std::string::npos);
  CHECK(refusal({"--heads", "4096/4096", "--head-dim", "4096", "--chunk", "1048576"})
            .find("lower --chunk") != std::string::npos);
}

TEST_CASE("a stop request prints what there is and says so") {
  std::stop_source stop;
  stop.request_stop();
  const Outcome outcome = run(small_run({"--format", "json", "--check", "5"}), stop.get_token());
  CHECK(outcome.code == perf::kExitInterrupted);
  CHECK(outcome.err ==
        "attnrt-perf: interrupted after 0 of 3 requests; the figures are of what was done\n");
  const auto json = nlohmann::json::parse(outcome.out);
  CHECK(json["rows"][0]["interrupted"] == true);
  CHECK(json["rows"][0]["steps"] == 0);
}

TEST_CASE("the report goes to the file that was asked for") {
  const TemporaryFile file("");
  const Outcome outcome = run(small_run({"--format", "json", "--output", file.path()}));
  CHECK(outcome.code == perf::kExitOk);
  CHECK(outcome.out.empty());
  std::ifstream in(file.path());
  CHECK(nlohmann::json::parse(in)["rows"][0]["requests"] == 3);
}
