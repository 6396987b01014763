// SPDX-License-Identifier: Apache-2.0
// The alternatives of the CPU's kernels on this machine, by the rows that share a key.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "perf/report.hpp"
#include "perf/sweep.hpp"

namespace attnrt::perf {

/// Decode of 8 KV heads with groups of 1 to 32, and a chunk of 64 query tokens with groups of 4:
/// `rows` is query tokens x group. 4096 keys, D 128, packed16 pages of 64.
SweepCase tune_case(int32_t rows, DType dtype, int32_t threads);

inline constexpr int32_t kTuneRows[] = {1, 2, 4, 8, 16, 32, 256};

/// What the alternatives took, in the order of their names.
struct TuneRow {
  int32_t rows = 0;
  std::vector<SweepResult> results;
};

/// "1 to 4 rows: avx512", "8 to 256 rows: avx512_bf16": which is fastest from where to where. One
/// that is not faster by more than `noise`, a share, does not take over.
std::vector<std::string> crossovers(const std::vector<TuneRow>& rows, double noise);

/// What `isa` loses to the best at most, and where: "avx512: at most 12% behind the best (32
/// rows)". Empty where it was not measured.
std::string behind_best(const std::vector<TuneRow>& rows, const std::string& isa);

/// How fast `isa` is beside the best other one: "onednn over the best other: 0.17 (1 rows) to 0.77
/// (256 rows)". Empty where there is nothing to compare.
std::string over_others(const std::vector<TuneRow>& rows, const std::string& isa);

/// A column of times for every alternative. Rates of what they multiply with stand in the notes.
Report tune_report(const std::vector<TuneRow>& rows);

}  // namespace attnrt::perf
