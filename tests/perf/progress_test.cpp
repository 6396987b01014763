// SPDX-License-Identifier: Apache-2.0
// What the progress line writes, and that it writes nothing where nobody watches.
#include "perf/progress.hpp"

#include <doctest/doctest.h>

#include <sstream>

using attnrt::perf::Progress;

TEST_CASE("nothing is written when disabled") {
  std::ostringstream out;
  {
    Progress progress(out, false, 10);
    progress.update(5, "half");
  }
  CHECK(out.str().empty());
}

TEST_CASE("the bar shows the share that is done and is wiped at the end") {
  std::ostringstream out;
  Progress progress(out, true, 10);
  progress.update(5, "5 of 10");
  CHECK(out.str() == "\r[###############...............]  50%  5 of 10\033[K");
  progress.finish();
  CHECK(out.str().ends_with("\r\033[K"));
  const size_t written = out.str().size();
  progress.finish();
  CHECK(out.str().size() == written);
}

TEST_CASE("a total of zero and counts beyond the total do no harm") {
  std::ostringstream out;
  Progress(out, true, 0).update(3, "");
  CHECK(out.str().find("100%") != std::string::npos);
}
