// SPDX-License-Identifier: Apache-2.0
// Request lengths and arrival times of serving traces, and a synthetic workload.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

namespace attnrt::perf {

struct Request {
  double arrival_seconds = 0.0;  // from the first request
  int32_t prompt_tokens = 0;     // at least 1
  int32_t output_tokens = 0;     // at least 0
};

struct Trace {
  std::string name;    // the file, or "synthetic"
  std::string format;  // "azure", "mooncake", "vidur" or "synthetic"
  std::vector<Request> requests;
};

/// The longest sequence that a trace may hold: far above any model's context, and small enough
/// that lengths of a whole batch fit in int32.
inline constexpr int64_t kMaxSequenceTokens = int64_t{1} << 24;

/// Reads at most max_requests requests of `in` and detects the format by the first line:
///   Azure    TIMESTAMP,ContextTokens,GeneratedTokens
///   Mooncake {"timestamp": ms, "input_length": .., "output_length": .., ..} on every line
///   Vidur    num_prefill_tokens,num_decode_tokens,.. (no arrival times: all arrive at once)
/// Lines may end in CRLF. Throws BadInput as "name:17: what is wrong: 'the line'".
Trace parse_trace(std::istream& in, const std::string& name, int64_t max_requests);

/// The same for a file. Throws BadInput if it cannot be read.
Trace read_trace(const std::string& path, int64_t max_requests);

/// Lognormal lengths and Poisson arrivals whose medians and spread resemble the Azure conversation
/// trace of 2023, cut to a quarter so that a replay takes seconds on two cores. The same seed gives
/// the same requests everywhere: no distribution of the standard library takes part.
Trace synthetic_trace(uint64_t seed, int64_t max_requests);

/// Requests of synthetic_trace where nobody asks for another number.
inline constexpr int64_t kSyntheticRequests = 128;

}  // namespace attnrt::perf
