// SPDX-License-Identifier: Apache-2.0
// One combination of a sweep, ready to be called: its plan, its tensors and its copies of K and V.
#pragma once

#include <cstdint>
#include <stop_token>
#include <vector>

#include "attnrt/attention.hpp"
#include "perf/case_input.hpp"
#include "perf/kv_rotation.hpp"
#include "perf/measured_device.hpp"
#include "perf/sweep_grid.hpp"

namespace attnrt::perf {

/// Memory that the rows of a sweep share, because filling gigabytes takes longer than a row.
class KvMemory {
 public:
  /// The device must outlive it.
  explicit KvMemory(MeasuredDevice& device) : device_(&device) {}

  /// At least `bytes` that hold numbers of `dtype`. What was there before is kept if it fits.
  std::byte* get(int64_t bytes, DType dtype);

  /// Bytes of it that are on huge pages; -1 where unknown.
  [[nodiscard]] int64_t huge_bytes() const { return device_->huge_bytes(buffer_.data()); }

  /// Bytes of it that have been touched.
  [[nodiscard]] int64_t filled_bytes() const { return filled_bytes_; }

 private:
  MeasuredDevice* device_;
  DeviceBuffer buffer_;
  int64_t filled_bytes_ = 0;
  DType dtype_ = DType::kF32;
};

/// Neither copied nor moved: the plan points into it.
class SweepCall {
 public:
  /// `kv`, memory of `device`, must outlive the call and have rotation.total_bytes(). Call
  /// prepare() first. Throws BadInput as CaseInput does.
  SweepCall(const SweepCase& sweep_case, KvRotation rotation, std::byte* kv,
            MeasuredDevice& device);

  SweepCall(const SweepCall&) = delete;
  SweepCall& operator=(const SweepCall&) = delete;

  /// Plans, counts the work, and fills q.
  Status prepare();

  /// Attends with the next copy of K and V. On a GPU it may return before that is done.
  Status attend(Context& context, const std::stop_token& stop);

  [[nodiscard]] const CaseInput& input() const { return input_; }
  [[nodiscard]] const Plan& plan() const { return plan_; }

  /// What one attend has to do at least; of a mask, what tile_scores() counts.
  [[nodiscard]] const Work& work() const { return work_; }
  [[nodiscard]] const AttendArgs& args() const { return args_; }
  [[nodiscard]] int64_t copies() const { return rotation_.copies(); }

 private:
  void place_score_tables();

  CaseInput input_;
  KvRotation rotation_;  // owns the block table, which the plan borrows
  std::byte* kv_;
  MeasuredDevice& device_;
  int64_t next_copy_ = 0;
  DeviceBuffer q_;
  DeviceBuffer out_;
  std::vector<DeviceBuffer> tables_;  // of the score, where the device is not the host
  std::vector<expr::SlotValue> score_values_;
  Plan plan_;
  Work work_;
  AttendArgs args_;
};

}  // namespace attnrt::perf
