// SPDX-License-Identifier: Apache-2.0
// One combination of a sweep, ready to be called.
#include "perf/sweep_call.hpp"

#include <utility>

#include "perf/random_fill.hpp"
#include "perf/tile_scores.hpp"
#include "src/expr/slot_bytes.hpp"

namespace attnrt::perf {
namespace {

Work masked_work(const CaseInput& input, const Plan& plan) {
  const SweepCase& c = input.sweep_case();
  const int64_t dims = int64_t{c.head_dim} + c.head_dim_v;
  return {.kv_bytes = plan.kv_bytes(c.dtype), .flops = tile_scores(input) * dims * 2};
}

}  // namespace

std::byte* KvMemory::get(int64_t bytes, DType dtype) {
  if (static_cast<int64_t>(buffer_.size()) < bytes) {
    { const DeviceBuffer old = std::move(buffer_); }  // first, so that both are never there at once
    buffer_ = DeviceBuffer(*device_, static_cast<size_t>(bytes));
    filled_bytes_ = 0;
  }
  if (dtype != dtype_) filled_bytes_ = 0;
  dtype_ = dtype;
  if (filled_bytes_ < bytes) {
    const int64_t elements = (bytes - filled_bytes_) / size_of(dtype);
    fill_random(*device_, buffer_.data() + filled_bytes_, dtype, elements,
                static_cast<uint64_t>(filled_bytes_));
    filled_bytes_ = bytes;
  }
  return buffer_.data();
}

SweepCall::SweepCall(const SweepCase& sweep_case, KvRotation rotation, std::byte* kv,
                     MeasuredDevice& device)
    : input_(sweep_case), rotation_(std::move(rotation)), kv_(kv), device_(device) {}

Status SweepCall::prepare() {
  const SweepCase& c = input_.sweep_case();
  if (c.page_size > 0) input_.set_pages(rotation_.pages(), rotation_.pages_per_sequence());
  Status status = make_plan(input_.spec(), input_.batch(), plan_);
  if (!status.ok()) return status;
  work_ = c.mask.empty() ? work_of(c) : masked_work(input_, plan_);
  const int64_t tokens = input_.tokens();
  const int64_t q_elements = tokens * c.heads.q * c.head_dim;
  const int64_t out_elements = tokens * c.heads.q * c.head_dim_v;
  q_ = DeviceBuffer(device_, static_cast<size_t>(q_elements * size_of(c.dtype)));
  out_ = DeviceBuffer(device_, static_cast<size_t>(out_elements * size_of(c.dtype)));
  fill_random(device_, q_.data(), c.dtype, q_elements, 7);
  args_.q =
      dense_tensor(static_cast<const void*>(q_.data()), c.dtype, tokens, c.heads.q, c.head_dim);
  args_.out =
      dense_tensor(static_cast<void*>(out_.data()), c.dtype, tokens, c.heads.q, c.head_dim_v);
  args_.q.device = args_.out.device = device_.device();
  args_.kv = rotation_.view(kv_, 0);
  args_.kv.device = device_.device();
  place_score_tables();
  return {};
}

// Where the other tensors are.
void SweepCall::place_score_tables() {
  tables_.clear();
  score_values_.assign(input_.score_values().begin(), input_.score_values().end());
  for (expr::SlotValue& value : score_values_) {
    const size_t bytes = expr::table_bytes(value);
    if (bytes == 0 || device_.host_memory()) continue;
    DeviceBuffer& table = tables_.emplace_back(device_, bytes);
    device_.copy_in(table.data(), value.data, bytes);
    value.data = table.data();
  }
  args_.score_values = score_values_;
}

Status SweepCall::attend(Context& context, const std::stop_token& stop) {
  args_.kv = rotation_.view(kv_, next_copy_);
  args_.kv.device = device_.device();
  args_.stop = stop;
  next_copy_ = (next_copy_ + 1) % rotation_.copies();
  return attnrt::attend(context, plan_, args_);
}

}  // namespace attnrt::perf
