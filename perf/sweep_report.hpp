// SPDX-License-Identifier: Apache-2.0
// Rows of a sweep as a report.
#pragma once

#include <vector>

#include "perf/report.hpp"
#include "perf/sweep.hpp"
#include "perf/sweep_grid.hpp"

namespace attnrt::perf {

/// Columns of a sweep. The table leaves out those that say the same in all of `cases` and are at
/// their default; CSV and JSON have all.
std::vector<Column> sweep_columns(const std::vector<SweepCase>& cases);

/// Share of the dense case's scores that `work` leaves out.
double sparsity_of(const SweepCase& sweep_case, const Work& work);

/// One value per column.
std::vector<Value> sweep_row(const SweepCase& sweep_case, const SweepResult& result, bool cold);

/// Facts of a run of rows: machine, build, how cold K and V are.
std::vector<Fact> sweep_environment(const Context& context, const SweepSettings& settings);

}  // namespace attnrt::perf
