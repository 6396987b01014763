// SPDX-License-Identifier: Apache-2.0
// The lines that masks and scores as expressions are held to, as data.
#pragma once

#include <string>
#include <vector>

#include "perf/line_rows.hpp"
#include "perf/lines.hpp"

namespace attnrt::perf {

/// All of them. Pages are in `layout`; rows that only plan have none.
std::vector<LineRow> mask_rows(KvLayout layout);

/// "time = 3.1 ms + 1490.2 ms x (1 - sparsity), R^2 0.998" over the rows of FlashMask's masks that
/// were measured; empty for fewer than three.
std::string linearity_text(const std::vector<LineRow>& rows, const LineOutcomes& outcomes);

}  // namespace attnrt::perf
