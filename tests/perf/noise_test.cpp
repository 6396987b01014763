// SPDX-License-Identifier: Apache-2.0
// The noise bound, with a clock that the test turns by hand.
#include "perf/noise.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace attnrt::perf {
namespace {

TEST_CASE("median, deciles and noise of known samples") {
  std::vector<double> samples;
  for (int i = 100; i >= 0; --i) samples.push_back(1000.0 + i);
  const Summary summary = summarize(samples);
  CHECK(summary.median == doctest::Approx(1050.0));
  CHECK(summary.p10 == doctest::Approx(1010.0));
  CHECK(summary.p90 == doctest::Approx(1090.0));
  // Ranks 50.5 -+ 9.85, rounded outwards: 40 and 61.
  CHECK(summary.noise == doctest::Approx((1061.0 - 1040.0) / 2.0 / 1050.0));
}

TEST_CASE("one outlier moves neither the median nor the noise") {
  std::vector<double> samples(31, 5.0);
  samples[3] = 5000.0;
  CHECK(summarize(samples).median == 5.0);
  CHECK(summarize(samples).noise == 0.0);
}

TEST_CASE("fewer than six samples have no confidence interval") {
  CHECK(summarize(std::vector<double>(5, 1.0)).noise == 1.0);
  CHECK(summarize(std::vector<double>(6, 1.0)).noise == 0.0);
}

struct FakeClock {
  double now = 100.0;
};

TEST_CASE("quiet samples stop at the least number of repeats") {
  FakeClock clock;
  Repeater repeater({.noise = 0.03, .max_seconds = 10.0, .min_repeats = 7, .max_repeats = 1000},
                    [&clock] { return clock.now; });
  for (int i = 0; i < 6; ++i) {
    repeater.add(1.0);
    CHECK_FALSE(repeater.done());
  }
  repeater.add(1.0);
  CHECK(repeater.done());
}

TEST_CASE("noisy samples go on until time is up, or the count") {
  FakeClock clock;
  const RepeatPolicy policy{
      .noise = 0.03, .max_seconds = 10.0, .min_repeats = 7, .max_repeats = 1000};
  Repeater timed(policy, [&clock] { return clock.now; });
  for (int i = 0; i < 60; ++i) timed.add(i % 2 == 0 ? 1.0 : 2.0);
  clock.now += 9.99;
  CHECK_FALSE(timed.done());
  clock.now += 0.02;
  CHECK(timed.done());

  Repeater counted(policy, [&clock] { return clock.now; });
  for (int i = 0; i < 999; ++i) counted.add(i % 2 == 0 ? 1.0 : 2.0);
  CHECK_FALSE(counted.done());
  counted.add(1.0);
  CHECK(counted.done());
}

TEST_CASE("noise that averages out stops before time is up") {
  FakeClock clock;
  Repeater repeater({.noise = 0.03, .max_seconds = 10.0, .min_repeats = 7, .max_repeats = 100000},
                    [&clock] { return clock.now; });
  // 1.0 .. 1.2, evenly: the interval of the median narrows with the root of the count.
  int count = 0;
  while (!repeater.done() && count < 5000) {
    repeater.add(1.0 + 0.2 * ((count * 7) % 101) / 101.0);
    ++count;
  }
  CHECK(count > 7);
  CHECK(count < 500);
  CHECK(summarize(repeater.samples()).noise <= 0.03);
}

TEST_CASE("time alone ends nothing: there is always one sample") {
  FakeClock clock;
  Repeater repeater({.max_seconds = 1.0}, [&clock] { return clock.now; });
  clock.now += 5.0;
  CHECK_FALSE(repeater.done());
  repeater.add(1.0);
  CHECK(repeater.done());
}

}  // namespace
}  // namespace attnrt::perf
