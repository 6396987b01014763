// SPDX-License-Identifier: Apache-2.0
// The figures of a replay as a report.
#pragma once

#include <string>

#include "perf/replay.hpp"
#include "perf/report.hpp"

namespace attnrt::perf {

/// One row. Rates of an empty measurement are "not measured", never 0 or NaN.
Report replay_report(const Trace& trace, const ReplayOptions& options, const ReplayResult& result);

}  // namespace attnrt::perf
