// SPDX-License-Identifier: Apache-2.0
// Compares sampled rows of a replay with the reference, under the library's error rule.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attnrt/attention.hpp"
#include "backends/reference/error_rule.hpp"
#include "perf/models.hpp"
#include "perf/scheduler.hpp"
#include "perf/token_source.hpp"

namespace attnrt::perf {

/// One layer's call as the checker needs it to find and to judge a row.
struct LayerRun {
  const AttentionSpec& spec;
  const StepBatch& batch;
  int64_t step = 0;
  int32_t layer = 0;
  ConstTensorView out;           // what attend wrote
  const float* lse = nullptr;    // (Hq, total_q)
  std::span<const float> sinks;  // (Hq) or empty
  std::span<const float> slopes;
  reference::Weights weights = reference::Weights::kFloat32;  // what multiplied V
};

/// Rows are drawn before the run, evenly over all (step, layer, token) of it, so that the sample
/// does not depend on how fast anything was. K and V are made again by the TokenSource rather than
/// read from the cache: a token appended to the wrong place is found too.
class RowCheck {
 public:
  /// `total_rows` is the number of (layer, token) pairs that the whole run will compute.
  RowCheck(int64_t count, int64_t total_rows, uint64_t seed, bool v_is_k_prefix);

  /// Checks the drawn rows among the run's. Runs must come in the order of the replay.
  void check(const LayerRun& run, const TokenSource& source);

  [[nodiscard]] int64_t checked() const noexcept { return checked_; }
  [[nodiscard]] int64_t failed() const noexcept { return failed_; }

  /// Largest error divided by its bound, over all rows, of out and of LSE; above 1 is a failure.
  [[nodiscard]] double worst_out() const noexcept { return worst_out_; }
  [[nodiscard]] double worst_lse() const noexcept { return worst_lse_; }

  /// What was wrong with the first row that failed.
  [[nodiscard]] const std::string& first_failure() const noexcept { return first_failure_; }

 private:
  void check_row(const LayerRun& run, const TokenSource& source, int64_t token, int64_t head);

  std::vector<int64_t> rows_;  // drawn, ascending
  size_t next_ = 0;
  int64_t seen_ = 0;  // rows of the runs so far
  uint64_t seed_;
  bool v_is_k_prefix_;
  int64_t checked_ = 0;
  int64_t failed_ = 0;
  double worst_out_ = 0.0;
  double worst_lse_ = 0.0;
  std::string first_failure_;
};

/// `count` different numbers of [0, total), ascending; all of them if there are no more.
std::vector<int64_t> draw_rows(int64_t count, int64_t total, uint64_t seed);

}  // namespace attnrt::perf
