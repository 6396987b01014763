// SPDX-License-Identifier: Apache-2.0
#include "attnrt/runtime.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

namespace attnrt {
namespace {

TEST_CASE("the library's version is the headers' version") {
  CHECK(Runtime::version() == std::to_string(kVersionMajor) + "." + std::to_string(kVersionMinor) +
                                  "." + std::to_string(kVersionPatch));
}

TEST_CASE("both backends are listed, the fast one first, each with a reason") {
  const auto backends = Runtime::backends();
  REQUIRE(backends.size() >= 2);
  CHECK(backends.front().name == "cpu");
  CHECK(backends.back().name == "reference");
  for (const Capability& backend : backends) {
    CHECK(backend.available);
    CHECK_FALSE(backend.reason.empty());
  }
}

TEST_CASE("the baseline runs everywhere and stands last; the default is one that can run") {
  const auto isas = Runtime::isas();
  REQUIRE_FALSE(isas.empty());
  CHECK(isas.back().name == "baseline");
  CHECK(isas.back().available);
  for (const Capability& isa : isas) CHECK_FALSE(isa.reason.empty());

  std::string name;
  std::string reason;
  const Status status = Runtime::default_isa(name, reason);
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK_FALSE(reason.empty());
  const auto found = std::ranges::find(isas, name, &Capability::name);
  REQUIRE(found != isas.end());
  CHECK(found->available);
}

TEST_CASE("to_string names version, backends, ISAs and threads") {
  const std::string text = Runtime::to_string();
  for (const char* word : {"libattnrt ", "backend cpu", "backend reference", "isa baseline",
                           "default isa ", "threads "}) {
    CAPTURE(word);
    CHECK(text.find(word) != std::string::npos);
  }
  CHECK(Runtime::num_threads() >= 1);
}

}  // namespace
}  // namespace attnrt
