// SPDX-License-Identifier: Apache-2.0
#include "attnrt/status.hpp"

#include <doctest/doctest.h>

#include <string>

namespace attnrt {
namespace {

TEST_CASE("a status is success unless it was given a code") {
  const Status good;
  CHECK(good.ok());
  CHECK(good.code() == Code::kOk);
  CHECK(good.message().empty());

  const Status bad(Code::kInvalidArgument, "q.data is null");
  CHECK_FALSE(bad.ok());
  CHECK(bad.code() == Code::kInvalidArgument);
  CHECK(bad.message() == "q.data is null");
}

TEST_CASE("codes are named as in source, without the k") {
  const struct {
    Code code;
    std::string name;
  } rows[] = {
      {Code::kOk, "Ok"},
      {Code::kInvalidArgument, "InvalidArgument"},
      {Code::kUnsupported, "Unsupported"},
      {Code::kOutOfMemory, "OutOfMemory"},
      {Code::kCancelled, "Cancelled"},
      {Code::kUnavailable, "Unavailable"},
      {Code::kInternal, "Internal"},
      {static_cast<Code>(99), "unknown"},
  };
  for (const auto& row : rows) CHECK(to_string(row.code) == row.name);
}

}  // namespace
}  // namespace attnrt
