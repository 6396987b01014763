// SPDX-License-Identifier: Apache-2.0
// The embedded workload: the same everywhere, and of the spread it claims.
#include <doctest/doctest.h>

#include <vector>

#include "perf/statistics.hpp"
#include "perf/traces.hpp"

using attnrt::perf::synthetic_trace;
using attnrt::perf::Trace;

TEST_CASE("the same seed gives the same requests, another seed others") {
  const Trace a = synthetic_trace(1, 100);
  const Trace b = synthetic_trace(1, 200);
  const Trace c = synthetic_trace(2, 100);
  REQUIRE(a.requests.size() == 100);
  int differences = 0;
  for (size_t i = 0; i < 100; ++i) {
    CHECK(a.requests[i].prompt_tokens == b.requests[i].prompt_tokens);
    CHECK(a.requests[i].output_tokens == b.requests[i].output_tokens);
    CHECK(a.requests[i].arrival_seconds == b.requests[i].arrival_seconds);
    differences += a.requests[i].prompt_tokens != c.requests[i].prompt_tokens ? 1 : 0;
  }
  CHECK(differences > 90);
}

TEST_CASE("medians, bounds and arrival gaps are those of the model") {
  const Trace trace = synthetic_trace(5, 20000);
  std::vector<double> prompts, outputs;
  double before = 0.0;
  for (const attnrt::perf::Request& request : trace.requests) {
    REQUIRE(request.prompt_tokens >= 1);
    REQUIRE(request.prompt_tokens <= 4096);
    REQUIRE(request.output_tokens >= 1);
    REQUIRE(request.output_tokens <= 512);
    REQUIRE(request.arrival_seconds >= before);
    before = request.arrival_seconds;
    prompts.push_back(request.prompt_tokens);
    outputs.push_back(request.output_tokens);
  }
  CHECK(attnrt::perf::median(prompts) == doctest::Approx(256.0).epsilon(0.05));
  CHECK(attnrt::perf::median(outputs) == doctest::Approx(32.0).epsilon(0.05));
  CHECK(before / 20000.0 == doctest::Approx(0.181).epsilon(0.05));
}
