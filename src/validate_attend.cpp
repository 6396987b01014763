// SPDX-License-Identifier: Apache-2.0
// What attend refuses: tensors that are not what the plan was made for.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "src/packed16.hpp"
#include "src/validate_tables.hpp"
#include "src/validate_tensors.hpp"

namespace attnrt {
namespace {

// Of q, and of what has a row of V's dims for each of its rows.
std::array<AxisRule, 3> query_axes(const PlanData& plan) {
  return {{{plan.total_q, "query tokens of the plan"},
           {plan.spec.num_heads_q, "num_heads_q"},
           {plan.spec.head_dim, "head_dim"}}};
}
std::array<AxisRule, 3> value_axes(const PlanData& plan) {
  std::array<AxisRule, 3> axes = query_axes(plan);
  axes[2] = {plan.spec.head_dim_v, "head_dim_v"};
  return axes;
}

Status check_planned(std::string_view name, std::string_view field, int64_t value,
                     int64_t planned) {
  if (value == planned) return {};
  return refuse(name, field, " is ", value, ", the plan has ", planned);
}

Status check_kv(const PlanData& plan, const KvView& kv, std::string_view name) {
  if (Status s = check_kv_view(name, kv, Access::kRead); !s.ok()) return s;
  const AttentionSpec& spec = plan.spec;
  if (Status s = check_planned(name, ".num_heads_kv", kv.num_heads_kv, spec.num_heads_kv);
      !s.ok()) {
    return s;
  }
  if (Status s = check_planned(name, ".head_dim", kv.head_dim, spec.head_dim); !s.ok()) return s;
  if (Status s = check_planned(name, ".head_dim_v", kv.head_dim_v, spec.head_dim_v); !s.ok()) {
    return s;
  }
  const bool packed = kv.layout == KvLayout::kPacked;
  if (packed != (plan.page_size == 0)) {
    return packed ? refuse(name, ".layout is packed, the plan has a block_table")
                  : refuse(name, ".layout is ", to_string(kv.layout),
                           ", the plan has cu_seqlens_k (packed)");
  }
  if (Status s = check_planned(name, ".page_size", kv.page_size, plan.page_size); !s.ok()) {
    return s;
  }
  if (packed && plan.packed_tokens > kv.num_tokens) {
    return refuse("cu_seqlens_k reaches key ", plan.packed_tokens, ", ", name, " has ",
                  kv.num_tokens, " keys");
  }
  if (!packed && plan.max_page_id >= kv.num_pages) {
    return refuse_page(plan.max_page_seq, plan.max_page_index, plan.max_page_id, kv.num_pages);
  }
  return {};
}

// In O(1): the plan has looked at every sequence.
Status check_groups(const PlanData& plan, const KvView& kv, const ArgNames& names) {
  if (kv.layout != KvLayout::kPacked16 || plan.odd_leftpad_seq < 0) return {};
  const int32_t b = plan.odd_leftpad_seq;
  return refuse(names.leftpad, "[", b, "] is ", plan.sequences[static_cast<size_t>(b)].first_slot,
                ", must be a multiple of ", kPacked16Keys, " with ", names.kv, ".layout packed16");
}

Status check_lists(const PlanData& plan, const AttendArgs& args) {
  const int64_t heads = plan.spec.num_heads_q;
  const int64_t all = heads * static_cast<int64_t>(plan.sequences.size());
  const auto slopes = static_cast<int64_t>(args.alibi_slopes.size());
  if (!plan.spec.has_alibi && slopes != 0) {
    return refuse("alibi_slopes has ", slopes, " entries, the plan was made without has_alibi");
  }
  if (plan.spec.has_alibi && slopes != heads && slopes != all) {
    return refuse("alibi_slopes has ", slopes, " entries, must have ", heads, " (heads) or ", all,
                  " (batch x heads)");
  }
  const auto sinks = static_cast<int64_t>(args.sinks.size());
  if (!plan.spec.has_sinks && sinks != 0) {
    return refuse("sinks has ", sinks, " entries, the plan was made without has_sinks");
  }
  if (plan.spec.has_sinks && sinks != heads) {
    return refuse("sinks has ", sinks, " entries, must have ", heads, " (heads)");
  }
  return {};
}

// Branch 0 has been checked as q and kv.
Status check_branches(const PlanData& plan, const AttendArgs& args) {
  const AttentionSpec& spec = plan.spec;
  const auto more = static_cast<int64_t>(args.branches.size());
  if (more != spec.num_branches - 1) {
    return refuse("branches has ", more, " entries, must have ", spec.num_branches - 1,
                  " (spec.num_branches less branch 0)");
  }
  const int64_t weights =
      spec.num_branches == 1 ? 0 : int64_t{spec.num_branches} * spec.num_heads_q;
  if (static_cast<int64_t>(args.branch_weights.size()) != weights) {
    return refuse("branch_weights has ", args.branch_weights.size(), " entries, must have ",
                  weights, spec.num_branches == 1 ? " (one branch)" : " (branches x heads)");
  }
  const bool readable = args.q.device == Device::kCpu;
  for (size_t i = 0; readable && i < args.branch_weights.size(); ++i) {
    if (std::isfinite(args.branch_weights[i])) continue;
    return refuse("branch_weights[", i, "] is ", args.branch_weights[i], ", must be finite");
  }
  if (spec.num_branches == 1) return {};
  if (args.lse.data != nullptr) return refuse("lse is given, branches have one each");
  if (args.row_max != nullptr) return refuse("row_max is given, branches have one each");
  if (args.partial.acc != nullptr) return refuse("partial is given, branches have one each");
  for (int64_t i = 0; i < more; ++i) {
    const Branch& branch = args.branches[static_cast<size_t>(i)];
    if (branch.q.dtype != args.q.dtype) {
      return refuse("branches[", i, "].q.dtype is ", to_string(branch.q.dtype), ", q.dtype is ",
                    to_string(args.q.dtype));
    }
    if (Status s = check_tensor({"branches", i, ".q"}, branch.q, query_axes(plan), Access::kRead);
        !s.ok()) {
      return s;
    }
    if (branch.q.device != args.q.device) {
      return refuse("branches[", i, "].q.device is not that of q");
    }
    if (Status s = check_branch_keys({"branches", i, ".k"}, args.kv, branch.k); !s.ok()) return s;
  }
  return {};
}

// What the call writes and the further branches read.
Status check_branches_apart(const AttendArgs& args) {
  const NamedRange out = range_of({"out"}, args.out);
  for (size_t i = 0; i < args.branches.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    const NamedRange read[] = {
        range_of({"branches", index, ".q"}, args.branches[i].q),
        branch_range({"branches", index, ".k"}, args.kv, args.branches[i].k)};
    if (Status s = check_apart(out, read); !s.ok()) return s;
  }
  const NamedRange weights = range_of({"branch_weights"}, args.branch_weights);
  return check_apart(out, {&weights, 1});
}

Status check_rotary_reach(const PlanData& plan, const AttendArgs& args, const ArgNames& names) {
  if (args.rotary_q.cos == nullptr) return {};
  for (size_t b = 0; b < plan.sequences.size(); ++b) {
    const PlanSequence& seq = plan.sequences[b];
    if (seq.q_len == 0) continue;
    const int64_t last = int64_t{seq.q_start} + (args.rotary_q_constant ? 0 : seq.q_len - 1);
    if (seq.q_start < 0) {
      return refuse("q_start of sequence ", b, " is ", seq.q_start,
                    ", rotary positions start at 0");
    }
    if (last >= args.rotary_q.max_position) {
      return refuse(names.rotary_limit, " is ", args.rotary_q.max_position, ", sequence ", b,
                    " has a query at position ", last);
    }
  }
  return {};
}

// Entries of a table that kernels count in 32 bits.
constexpr int64_t kMaxTable = std::numeric_limits<int32_t>::max();

Status check_device_lengths(const PlanData& plan, const AttendArgs& args) {
  const DeviceLengths& lengths = args.device_lengths;
  if (lengths.seqused_k == nullptr && lengths.block_table == nullptr) return {};
  if (args.q.device == Device::kCpu) {
    return refuse("device_lengths is given, q is in host memory");
  }
  if (lengths.block_table == nullptr) return {};
  if (plan.page_size == 0) {
    return refuse("device_lengths.block_table is given, the plan has cu_seqlens_k (packed)");
  }
  const auto batch = static_cast<int64_t>(plan.sequences.size());
  if (lengths.row_stride < 1 || lengths.row_stride > kMaxTable / std::max<int64_t>(batch, 1)) {
    return refuse("device_lengths.row_stride is ", lengths.row_stride, ", must be 1..",
                  kMaxTable / std::max<int64_t>(batch, 1), " for ", batch, " sequences");
  }
  for (size_t b = 0; b < plan.sequences.size(); ++b) {
    const PlanSequence& seq = plan.sequences[b];
    const int64_t slots = seq.kv_len == 0 ? 0 : seq.first_slot + seq.kv_len;
    if (slots <= lengths.row_stride * plan.page_size) continue;
    return refuse("device_lengths.row_stride is ", lengths.row_stride, ", sequence ", b, " has ",
                  slots, " slots in pages of ", plan.page_size);
  }
  return {};
}

struct Inputs {
  std::array<NamedRange, 9> ranges;
};

Inputs inputs_of(const AttendArgs& args, const ArgNames& names) {
  const std::array<NamedRange, 2> kv = ranges_of(names.kv, args.kv);
  const std::array<NamedRange, 2> rotary = ranges_of(args.rotary_q, names);
  return {{range_of({"q"}, args.q), kv[0], kv[1], range_of({"alibi_slopes"}, args.alibi_slopes),
           range_of({"sinks"}, args.sinks), rotary[0], rotary[1],
           range_of({"epilogue.gate"}, args.epilogue.gate),
           range_of({"epilogue.residual"}, args.epilogue.residual)}};
}

// Two views of the same elements, one of which is written row by row after the other was read.
bool same_elements(const TensorView& out, const ConstTensorView& in) {
  return out.data == in.data && out.dtype == in.dtype && out.shape == in.shape &&
         out.strides == in.strides;
}

Status check_epilogue(const PlanData& plan, const AttendArgs& args) {
  if (!std::isfinite(args.epilogue.scale)) {
    return refuse("epilogue.scale is ", args.epilogue.scale, ", must be finite");
  }
  if (args.partial.acc != nullptr && args.epilogue.scale != 1.0f) {
    return refuse("epilogue.scale is ", args.epilogue.scale, ", must be 1 together with partial");
  }
  const std::array<std::pair<const char*, const ConstTensorView*>, 2> tensors{
      {{"epilogue.gate", &args.epilogue.gate}, {"epilogue.residual", &args.epilogue.residual}}};
  for (const auto& [name, tensor] : tensors) {
    if (tensor->data == nullptr) continue;
    if (args.partial.acc != nullptr) return refuse(name, " is given together with partial");
    if (Status s = check_tensor({name}, *tensor, value_axes(plan), Access::kRead); !s.ok()) {
      return s;
    }
    if (Status s = check_same_device(name, tensor->device, "q", args.q.device); !s.ok()) return s;
  }
  return {};
}

// What has no meaning where weights are not e^score.
Status check_normalizer(const PlanData& plan, const AttendArgs& args) {
  if (plan.spec.normalizer == Normalizer::kSoftmax) return {};
  if (args.lse.data != nullptr) return refuse("lse is given, a pointwise normalizer has none");
  if (args.row_max != nullptr) return refuse("row_max is given, a pointwise normalizer has none");
  if (args.partial.acc != nullptr) {
    return refuse("partial is given, states of a pointwise normalizer cannot be merged");
  }
  return {};
}

Status check_partial(const PlanData& plan, const AttendArgs& args, const Inputs& inputs) {
  const PartialView& partial = args.partial;
  if (partial.num_splits < plan.max_splits) {
    return refuse("partial.num_splits is ", partial.num_splits, ", must be at least ",
                  plan.max_splits, " (splits of the plan)");
  }
  const int64_t states =
      capped_mul(capped_mul(partial.num_splits, plan.total_q), plan.spec.num_heads_q);
  const int64_t floats = capped_mul(states, plan.spec.head_dim_v);
  if (capped_mul(floats, 4) == kHuge) {
    return refuse("partial.num_splits is ", partial.num_splits,
                  ", the states do not fit into memory");
  }
  if (args.row_max != nullptr) return refuse("row_max is given together with partial");
  const float* const data[] = {partial.acc, partial.ref, partial.sum};
  const ArgName names[] = {{"partial.acc"}, {"partial.ref"}, {"partial.sum"}};
  NamedRange ranges[3];
  for (size_t i = 0; i < 3; ++i) {
    if (Status s = check_pointer(names[i], data[i], states, DType::kF32); !s.ok()) return s;
    ranges[i] = {names[i], byte_range(data[i], (i == 0 ? floats : states) * 4)};
    if (Status s = check_apart(ranges[i], inputs.ranges); !s.ok()) return s;
    if (Status s = check_apart(ranges[i], {ranges, i}); !s.ok()) return s;
  }
  return {};
}

Status check_out(const PlanData& plan, const AttendArgs& args, const Inputs& inputs,
                 const ArgNames& names) {
  const AttentionSpec& spec = plan.spec;
  if (args.partial.ref != nullptr || args.partial.sum != nullptr) {
    return refuse("partial.acc is null, partial.ref or partial.sum is not");
  }
  if (Status s = check_tensor({"out"}, args.out, value_axes(plan), Access::kWrite); !s.ok()) {
    return s;
  }
  if (Status s = check_same_device("out", args.out.device, "q", args.q.device); !s.ok()) return s;
  if (Status s = check_lse(names.lse, args.lse); !s.ok()) return s;
  const NamedRange out = range_of({"out"}, args.out);
  if (args.row_max != nullptr) {
    const int64_t states = int64_t{plan.total_q} * spec.num_heads_q;
    if (Status s = check_pointer({"row_max"}, args.row_max, states, DType::kF32); !s.ok()) return s;
  }
  // The residual stands last.
  const bool in_place = same_elements(args.out, args.epilogue.residual);
  const std::span<const NamedRange> read(inputs.ranges.data(),
                                         inputs.ranges.size() - (in_place ? 1 : 0));
  if (Status s = check_apart(out, read); !s.ok()) return s;
  const int64_t row_bytes = capped_mul(int64_t{plan.total_q} * spec.num_heads_q, 4);
  const std::array<NamedRange, 2> rows{
      {{{names.lse}, byte_range(args.lse.data, args.lse.data == nullptr ? 0 : row_bytes)},
       {{"row_max"}, byte_range(args.row_max, args.row_max == nullptr ? 0 : row_bytes)}}};
  for (const NamedRange& written : rows) {
    if (Status s = check_apart(written, inputs.ranges); !s.ok()) return s;
    if (Status s = check_apart(written, {&out, 1}); !s.ok()) return s;
  }
  return check_apart(rows[0], {&rows[1], 1});
}

}  // namespace

Status validate_attend(const PlanData& plan, const AttendArgs& args, const ArgNames& names) {
  const AttentionSpec& spec = plan.spec;
  if (Status s = check_tensor({"q"}, args.q, query_axes(plan), Access::kRead); !s.ok()) {
    return s;
  }
  if (Status s = check_kv(plan, args.kv, names.kv); !s.ok()) return s;
  if (Status s = check_groups(plan, args.kv, names); !s.ok()) return s;
  if (Status s = check_same_device(names.kv, args.kv.device, "q", args.q.device); !s.ok()) return s;
  if (Status s = check_lists(plan, args); !s.ok()) return s;
  if (Status s = check_branches(plan, args); !s.ok()) return s;
  if (Status s = check_rotary(args.rotary_q, names, spec.head_dim); !s.ok()) return s;
  if (Status s = check_rotary_reach(plan, args, names); !s.ok()) return s;
  if (Status s = check_device_lengths(plan, args); !s.ok()) return s;
  if (Status s = check_normalizer(plan, args); !s.ok()) return s;
  if (Status s = check_epilogue(plan, args); !s.ok()) return s;
  const Inputs inputs = inputs_of(args, names);
  if (args.partial.acc != nullptr) return check_partial(plan, args, inputs);
  if (Status s = check_out(plan, args, inputs, names); !s.ok()) return s;
  return check_branches_apart(args);
}

}  // namespace attnrt
