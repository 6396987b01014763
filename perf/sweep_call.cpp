// SPDX-License-Identifier: Apache-2.0
// One combination of a sweep, ready to be called.
#include "perf/sweep_call.hpp"

#include <utility>
#include <vector>

#include "perf/random_fill.hpp"

namespace attnrt::perf {
namespace {

std::vector<int32_t> prefix_sums(const std::vector<SequenceLengths>& lengths,
                                 int32_t SequenceLengths::*side) {
  std::vector<int32_t> sums{0};
  for (const SequenceLengths& sequence : lengths) sums.push_back(sums.back() + sequence.*side);
  return sums;
}

AttentionSpec make_spec(const SweepCase& c) {
  AttentionSpec spec;
  spec.num_heads_q = c.heads.q;
  spec.num_heads_kv = c.heads.kv;
  spec.head_dim = c.head_dim;
  spec.head_dim_v = c.head_dim_v;
  spec.causal = c.causal;
  spec.window_left = c.window - 1;
  spec.softcap = c.softcap;
  return spec;
}

}  // namespace

std::byte* KvMemory::get(int64_t bytes, DType dtype) {
  if (static_cast<int64_t>(buffer_.size()) < bytes) {
    buffer_ = HugeBuffer();  // before the next one, so that both are never there at once
    buffer_ = HugeBuffer(static_cast<size_t>(bytes));
    filled_bytes_ = 0;
  }
  if (dtype != dtype_) filled_bytes_ = 0;
  dtype_ = dtype;
  if (filled_bytes_ < bytes) {
    const int64_t elements = (bytes - filled_bytes_) / size_of(dtype);
    random_fill(buffer_.data() + filled_bytes_, dtype, elements,
                static_cast<uint64_t>(filled_bytes_));
    filled_bytes_ = bytes;
  }
  return buffer_.data();
}

SweepCall::SweepCall(const SweepCase& sweep_case, KvRotation rotation, std::byte* kv)
    : case_(sweep_case), rotation_(std::move(rotation)), kv_(kv) {}

Status SweepCall::prepare() {
  const std::vector<SequenceLengths> lengths = sequence_lengths(case_);
  const std::vector<int32_t> cu_seqlens_q = prefix_sums(lengths, &SequenceLengths::q);
  const std::vector<int32_t> cu_seqlens_k = prefix_sums(lengths, &SequenceLengths::kv);
  std::vector<int32_t> kv_lens;
  for (const SequenceLengths& sequence : lengths) kv_lens.push_back(sequence.kv);
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens_q;
  if (case_.page_size == 0) {
    batch.cu_seqlens_k = cu_seqlens_k;
  } else {
    batch.seqused_k = kv_lens;
    batch.block_table =
        BlockTable::dense(rotation_.pages(), rotation_.pages_per_sequence(), case_.page_size);
  }
  Status status = make_plan(make_spec(case_), batch, plan_);
  if (!status.ok()) return status;
  const int64_t tokens = cu_seqlens_q.back();
  const int64_t q_elements = tokens * case_.heads.q * case_.head_dim;
  const int64_t out_elements = tokens * case_.heads.q * case_.head_dim_v;
  q_ = HugeBuffer(static_cast<size_t>(q_elements * size_of(case_.dtype)));
  out_ = HugeBuffer(static_cast<size_t>(out_elements * size_of(case_.dtype)));
  random_fill(q_.data(), case_.dtype, q_elements, 7);
  args_.q = dense_tensor(static_cast<const void*>(q_.data()), case_.dtype, tokens, case_.heads.q,
                         case_.head_dim);
  args_.out = dense_tensor(static_cast<void*>(out_.data()), case_.dtype, tokens, case_.heads.q,
                           case_.head_dim_v);
  args_.kv = rotation_.view(kv_, 0);
  return {};
}

Status SweepCall::attend(Context& context, const std::stop_token& stop) {
  args_.kv = rotation_.view(kv_, next_copy_);
  args_.stop = stop;
  next_copy_ = (next_copy_ + 1) % rotation_.copies();
  return attnrt::attend(context, plan_, args_);
}

}  // namespace attnrt::perf
