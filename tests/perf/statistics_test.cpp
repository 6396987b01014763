// SPDX-License-Identifier: Apache-2.0
// Percentiles, by hand and as NumPy gives them.
#include "perf/statistics.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using attnrt::perf::median;
using attnrt::perf::percentile;

TEST_CASE("percentiles interpolate between neighbours") {
  const std::vector<double> samples{40.0, 10.0, 30.0, 20.0};
  CHECK(percentile(samples, 0.0) == 10.0);
  CHECK(percentile(samples, 100.0) == 40.0);
  CHECK(median(samples) == doctest::Approx(25.0));
  CHECK(percentile(samples, 90.0) == doctest::Approx(37.0));
  CHECK(percentile(samples, 10.0) == doctest::Approx(13.0));
}

TEST_CASE("one sample is every percentile, none is NaN") {
  const std::vector<double> one{7.0};
  for (const double percent : {0.0, 50.0, 99.0, 100.0}) CHECK(percentile(one, percent) == 7.0);
  CHECK(std::isnan(median({})));
}

TEST_CASE("percentiles outside 0 to 100 are the ends") {
  const std::vector<double> samples{1.0, 2.0};
  CHECK(percentile(samples, -5.0) == 1.0);
  CHECK(percentile(samples, 200.0) == 2.0);
}
