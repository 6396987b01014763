// SPDX-License-Identifier: Apache-2.0
// Leaving a test out by name: a run in which every test did so is "skipped" for ctest, not passed.
#pragma once

#include <doctest/doctest.h>

#include <string>

namespace attnrt::test {

/// What the test program returns when nothing was checked because tests were skipped.
inline constexpr int kSkipped = 77;

/// Tests that said so in this run.
inline int skipped_tests = 0;

/// Says why, and counts; to be followed by a return.
inline void skip(const std::string& why) {
  MESSAGE("skipped: ", why);
  ++skipped_tests;
}

}  // namespace attnrt::test
