// SPDX-License-Identifier: Apache-2.0
// Where the calls of a problem write, and what they are called with.
#include <cstring>

#include "backends/reference/element.hpp"
#include "tests/support/problem.hpp"

namespace attnrt::test {
namespace {

constexpr std::byte kPattern{0xa5};  // what outputs hold before a call

}  // namespace

double Output::at(int64_t token, int64_t head, int64_t d) const {
  const int64_t offset = token * view.strides[0] + head * view.strides[1] + d;
  return reference::load(view.dtype, bytes.data(), offset);
}

std::vector<std::byte> Output::row_bits(int64_t token) const {
  std::vector<std::byte> bits;
  const int64_t heads = view.shape[1];
  const int64_t row_bytes = view.shape[2] * size_of(view.dtype);
  for (int64_t head = 0; head < heads; ++head) {
    const int64_t offset = token * view.strides[0] + head * view.strides[1];
    const std::byte* row = bytes.data() + offset * size_of(view.dtype);
    bits.insert(bits.end(), row, row + row_bytes);
  }
  for (int64_t head = 0; head < heads; ++head) {
    const bool heads_first = lse_view.order == LseOrder::kHeadsFirst;
    const int64_t index = heads_first ? head * view.shape[0] + token : token * heads + head;
    const auto* value = reinterpret_cast<const std::byte*>(&lse[static_cast<size_t>(index)]);
    bits.insert(bits.end(), value, value + sizeof(float));
  }
  return bits;
}

std::string Output::stray_write() const {
  std::vector<bool> inside(bytes.size(), false);
  const int64_t element = size_of(view.dtype);
  for (int64_t token = 0; token < view.shape[0]; ++token) {
    for (int64_t head = 0; head < view.shape[1]; ++head) {
      const int64_t first = (token * view.strides[0] + head * view.strides[1]) * element;
      const auto begin = inside.begin() + first;
      std::fill(begin, begin + view.shape[2] * element, true);
    }
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (!inside[i] && bytes[i] != kPattern) return "byte " + std::to_string(i) + " of out";
  }
  return {};
}

Problem::Problem(ProblemShape shape) : shape_(std::move(shape)) {
  const AttentionSpec& spec = shape_.spec;
  dim_v_ = spec.head_dim_v != 0 ? spec.head_dim_v : spec.head_dim;
  place_sequences();
  if (shape_.layout != KvLayout::kPacked) place_pages();
  make_strides();
  fill_q();
  fill_epilogue();
  fill_kv();
  make_tables();
  make_branches();
}

Output Problem::make_output(LseView options) const {
  const int64_t pad = shape_.padded ? 5 : 0;
  const int64_t heads = shape_.spec.num_heads_q;
  Output output;
  output.view = dense_tensor(static_cast<void*>(nullptr), shape_.out_dtype, total_q(), heads,
                             int64_t{dim_v_});
  output.view.strides = {heads * (dim_v_ + pad) + pad, dim_v_ + pad, 1};
  output.bytes.assign(
      static_cast<size_t>(total_q() * output.view.strides[0] * size_of(shape_.out_dtype)),
      kPattern);
  output.view.data = output.bytes.data();
  output.lse.assign(static_cast<size_t>(total_q() * heads), -12345.0f);
  output.lse_view = options;
  output.lse_view.data = output.lse.data();
  const bool no_lse =
      shape_.spec.normalizer == Normalizer::kPointwise || shape_.spec.num_branches > 1;
  if (no_lse) output.lse_view.data = nullptr;
  if (shape_.row_max) output.row_max.assign(static_cast<size_t>(total_q() * heads), -12345.0f);
  return output;
}

AttendArgs Problem::args(Output& output) const {
  AttendArgs args;
  args.q = q();
  args.kv = kv();
  args.out = output.view;
  args.lse = output.lse_view;
  args.alibi_slopes = alibi_slopes;
  args.sinks = sinks;
  args.branches = branches_;
  args.branch_weights = branch_weights;
  args.score_values = shape_.score_values;
  args.score_hook = shape_.score_hook;
  args.weight_hook = shape_.weight_hook;
  args.epilogue.scale = shape_.epilogue_scale;
  const auto tensor = [&](const std::vector<std::byte>& data) {
    return dense_tensor(static_cast<const void*>(data.data()), shape_.q_dtype, total_q(),
                        int64_t{shape_.spec.num_heads_q}, int64_t{dim_v_});
  };
  if (shape_.gate) args.epilogue.gate = tensor(gate_);
  if (shape_.residual) args.epilogue.residual = tensor(residual_);
  if (shape_.row_max) args.row_max = output.row_max.data();
  if (shape_.rotary != Rotary::kNone) {
    args.rotary_q.cos = cos_.data();
    args.rotary_q.sin = sin_.data();
    args.rotary_q.dtype = shape_.q_dtype;
    args.rotary_q.max_position = max_position_;
    args.rotary_q.rotary_dim = shape_.spec.head_dim / 2 * 2;
    args.rotary_q.interleaved = shape_.rotary == Rotary::kInterleaved;
    args.rotary_q_constant = shape_.rotary_constant;
  }
  return args;
}

}  // namespace attnrt::test
