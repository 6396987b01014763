// SPDX-License-Identifier: Apache-2.0
// Figures of plans.
#include "perf/plan_probe.hpp"

#include <doctest/doctest.h>

#include <string>

#include "src/plan_data.hpp"
#include "tests/perf/square_case.hpp"

namespace attnrt::perf {
namespace {

constexpr RepeatPolicy kShort{.max_seconds = 0.01};

TEST_CASE("bytes are those of the plan's lists") {
  const CaseInput input(square("documents", 4096));
  PlanFigures figures;
  REQUIRE(measure_plan(input, kShort, figures).ok());
  CHECK(figures.repeats > 0);
  CHECK(figures.seconds.median > 0.0);
  Plan plan;
  REQUIRE(make_plan(input.spec(), input.batch(), plan).ok());
  const PlanData& data = *plan.data();
  CHECK(data.runs.size() > 32);
  CHECK(figures.run_bytes == static_cast<int64_t>(data.runs.size() * sizeof(expr::MaskRun)));
  CHECK(figures.bytes ==
        figures.run_bytes + static_cast<int64_t>(data.tiles.size() * sizeof(PlanTile) +
                                                 data.items.size() * sizeof(PlanItem)));
}

TEST_CASE("a window has no runs") {
  PlanFigures figures;
  REQUIRE(measure_plan(CaseInput(square("causal", 4096)), kShort, figures).ok());
  CHECK(figures.run_bytes == 0);
  CHECK(figures.bytes > 0);
}

TEST_CASE("what make_plan refuses is passed on") {
  const CaseInput input([] {
    SweepCase c = square("causal", 256);
    c.head_dim = 0;
    return c;
  }());
  PlanFigures figures;
  CHECK(measure_plan(input, kShort, figures).code() == Code::kInvalidArgument);
}

TEST_CASE("an element takes some time, and there are as many as the mask tells apart") {
  const CaseInput input(square("tracks", 1000));
  const double seconds = element_seconds(input, 1000);
  CHECK(seconds > 1e-9);
  CHECK(seconds < 1e-3);
  CHECK(mask_elements(input) == 1e6);
  CHECK(mask_elements(CaseInput(square("kv <= q + h", 1000))) == 4e6);
  SweepCase two = square("causal", 1000);
  two.batch = 2;
  two.q_len = 10;
  CHECK(mask_elements(CaseInput(two)) == 2e4);
}

}  // namespace
}  // namespace attnrt::perf
