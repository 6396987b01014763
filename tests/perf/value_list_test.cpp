// SPDX-License-Identifier: Apache-2.0
// Lists and ranges of the command line, and what a mistyped one says.
#include "perf/value_list.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "perf/cli.hpp"

namespace attnrt::perf {
namespace {

using Values = std::vector<int64_t>;

std::string message_of(std::string_view text, const ValueRules& rules = {}) {
  try {
    (void)parse_value_list("--kv-len", text, rules);
  } catch (const BadInput& error) {
    return error.what();
  }
  return "accepted";
}

TEST_CASE("single numbers and lists, with suffixes") {
  CHECK(parse_value_list("--x", "7") == Values{7});
  CHECK(parse_value_list("--x", "1,2,4") == Values{1, 2, 4});
  CHECK(parse_value_list("--x", "4k,1m") == Values{4096, 1 << 20});
  CHECK(parse_value_list("--x", "3,3") == Values{3, 3});
}

TEST_CASE("ranges by factor and by step include an end that is hit") {
  CHECK(parse_value_list("--x", "4k:32k*2") == Values{4096, 8192, 16384, 32768});
  CHECK(parse_value_list("--x", "512:2048+512") == Values{512, 1024, 1536, 2048});
  CHECK(parse_value_list("--x", "1:10*3") == Values{1, 3, 9});
  CHECK(parse_value_list("--x", "1:4+2,100") == Values{1, 3, 100});
  CHECK(parse_value_list("--x", "5:5*2") == Values{5});
}

TEST_CASE("a word stands for a value where an option has one") {
  const ValueRules rules{.word = "kv", .word_value = 0};
  CHECK(parse_value_list("--q-len", "1,kv", rules) == Values{1, 0});
  CHECK(message_of("kv") != "accepted");
}

TEST_CASE("malformed lists name the option, the item and what is wrong") {
  CHECK(message_of("") == "--kv-len: '' has an empty item");
  CHECK(message_of("1,,2") == "--kv-len: '1,,2' has an empty item");
  CHECK(message_of("1,2,") == "--kv-len: '1,2,' has an empty item");
  CHECK(message_of("1:8") == "--kv-len: '1:8' needs a step: begin:end*factor or begin:end+step");
  CHECK(message_of("8:1*2") == "--kv-len: '8:1*2' begins after its end");
  CHECK(message_of("1:8+0") == "--kv-len: '1:8+0' needs a step of at least 1");
  CHECK(message_of("0:8*2") ==
        "--kv-len: '0:8*2' needs a begin of at least 1 and a factor of at least 2");
  CHECK(message_of("1:8*1") ==
        "--kv-len: '1:8*1' needs a begin of at least 1 and a factor of at least 2");
  CHECK(message_of("0") == "--kv-len: '0' is outside 1..2147483647");
  CHECK(message_of("4g") == "--kv-len: '4g' is outside 1..2147483647");
  CHECK(message_of("9", {.max = 8}) == "--kv-len: '9' is outside 1..8");
  CHECK(message_of("1:1m+1") == "--kv-len: '1:1m+1' makes more than 4096 values");
  for (const char* text : {"x", "4x", "-1", "1.5", "1:b*2", "1 2", "k", "99999999999999999999"}) {
    CAPTURE(text);
    CHECK(message_of(text).starts_with("--kv-len"));
  }
}

TEST_CASE("a range that leaves 64 bits ends instead of starting over") {
  const ValueRules all{.max = INT64_MAX};
  CHECK(parse_value_list("--x", "1:9223372036854775807*4611686018427387904", all) ==
        Values{1, int64_t{1} << 62});
}

}  // namespace
}  // namespace attnrt::perf
