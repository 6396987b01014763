// SPDX-License-Identifier: Apache-2.0
// Where the real traces are. They carry licences of their own and are no part of the project.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace attnrt::perf {

inline constexpr const char* kNoRealTraces =
    "skipped, no real traces: set ATTNRT_TRACES or put them into ../shared/traces";

/// ATTNRT_TRACES, else shared/traces beside the source tree; empty if there is neither.
inline std::filesystem::path real_traces() {
  if (const char* folder = std::getenv("ATTNRT_TRACES")) return folder;
  const auto root = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path();
  const auto beside = root.parent_path() / "shared" / "traces";
  return std::filesystem::is_directory(beside) ? beside : std::filesystem::path();
}

}  // namespace attnrt::perf
