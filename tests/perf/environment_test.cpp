// SPDX-License-Identifier: Apache-2.0
// The facts that every report starts with.
#include "perf/environment.hpp"

#include <doctest/doctest.h>

#include <string>

#include "attnrt/runtime.hpp"

namespace perf = attnrt::perf;

namespace {

const perf::Value* find(const std::vector<perf::Fact>& facts, const std::string& key) {
  for (const perf::Fact& fact : facts) {
    if (fact.key == key) return &fact.value;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("facts say who computes, with what and why") {
  attnrt::Context context;
  attnrt::ContextOptions options;
  options.backend = "cpu";
  options.isa = "baseline";
  options.num_threads = 2;
  REQUIRE(attnrt::Context::create(options, context).ok());
  const std::vector<perf::Fact> facts = perf::read_environment(context);
  for (const char* key : {"version", "compiler", "cpu", "backend", "isa", "isa_reason", "threads",
                          "huge_pages", "logical_cpus"}) {
    CAPTURE(key);
    REQUIRE(find(facts, key) != nullptr);
  }
  CHECK(*find(facts, "version") == perf::Value(std::string(attnrt::Runtime::version())));
  CHECK(*find(facts, "backend") == perf::Value(std::string("cpu")));
  CHECK(*find(facts, "isa") == perf::Value(std::string("baseline")));
  CHECK(*find(facts, "threads") == perf::Value(int64_t{2}));
  CHECK_FALSE(std::get<std::string>(*find(facts, "isa_reason")).empty());
}

TEST_CASE("what the system says about memory is plausible") {
  CHECK_FALSE(perf::cpu_name().empty());
  CHECK_FALSE(perf::huge_page_setting().empty());
  CHECK(perf::peak_memory_bytes() > 1 << 20);
  CHECK(perf::available_memory_bytes() > 1 << 20);
}
