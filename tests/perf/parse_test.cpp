// SPDX-License-Identifier: Apache-2.0
// Words of the command line: what they mean, and the one line that says what is wrong.
#include "perf/parse.hpp"

#include <doctest/doctest.h>

#include <string>

#include "perf/cli.hpp"

namespace perf = attnrt::perf;
using perf::BadInput;

TEST_CASE("heads") {
  const perf::Heads heads = perf::parse_heads("--heads", "32/8");
  CHECK(heads.q == 32);
  CHECK(heads.kv == 8);
  CHECK_THROWS_WITH_AS(perf::parse_heads("--heads", "32/7"),
                       "--heads is '32/7': 32 query heads are no multiple of 7 KV heads", BadInput);
  for (const char* text : {"", "32", "32/", "/8", "a/8", "32/8/1", "32 /8", "32/8x"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(perf::parse_heads("--heads", text), BadInput);
  }
  for (const char* text : {"-32/8", "32/-8", "0/1", "8/0", "65537/1"}) {
    CAPTURE(text);
    const std::string message = "--heads is '" + std::string(text) + "'; both must be 1 to 65536";
    CHECK_THROWS_WITH_AS(perf::parse_heads("--heads", text), message.c_str(), BadInput);
  }
}

TEST_CASE("dtypes and layouts") {
  CHECK(perf::parse_dtype("--dtype", "bf16") == attnrt::DType::kBF16);
  CHECK(perf::parse_layout("--layout", "hnd") == attnrt::KvLayout::kHND);
  CHECK(perf::parse_layout("--layout", "packed16") == attnrt::KvLayout::kPacked16);
  CHECK_THROWS_WITH_AS(perf::parse_dtype("--dtype", "fp8"),
                       "--dtype is 'fp8'; known: f32, bf16, f16", BadInput);
  CHECK_THROWS_WITH_AS(perf::parse_layout("--layout", "xyz"),
                       "--layout is 'xyz'; known: nhd, hnd, packed16", BadInput);
}

TEST_CASE("counts") {
  CHECK(perf::parse_count("-n", "0") == 0);
  CHECK(perf::parse_count("-n", "4096") == 4096);
  CHECK(perf::parse_count("-n", "4k") == 4096);
  CHECK(perf::parse_count("-n", "1M") == 1048576);
  CHECK(perf::parse_count("-n", "2g") == int64_t{2} << 30);
  for (const char* text :
       {"", "k", "4kk", "-1", "-1k", "4.5", "9223372036854775807k", "99999999999999999999"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(perf::parse_count("-n", text), BadInput);
  }
}
