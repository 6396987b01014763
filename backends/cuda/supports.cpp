// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/supports.hpp"

#include <string>
#include <utility>

#include "backends/cuda/device_plan.hpp"
#include "src/refuse.hpp"

namespace attnrt::cuda {
namespace {

template <class... Parts>
Status unsupported(const Parts&... parts) {
  std::string message;
  (append_part(message, parts), ...);
  return Status(Code::kUnsupported, std::move(message));
}

Status check_layout(const KvView& kv) {
  if (kv.layout != KvLayout::kPacked16) return {};
  return unsupported(
      "kv.layout is packed16, the CPU's own: the cuda backend reads packed, nhd and "
      "hnd (convert_kv makes them)");
}

Status check_dtypes(const AttendArgs& args) {
  if (args.kv.dtype == DType::kF32) {
    return unsupported("kv.dtype is f32, the cuda backend reads bf16 and f16");
  }
  if (args.q.dtype == args.kv.dtype) return {};
  return unsupported("q.dtype is ", to_string(args.q.dtype), " and kv.dtype ",
                     to_string(args.kv.dtype), ", the cuda backend wants one dtype");
}

// What a score or a result can go through beside the options.
Status check_extras(const PlanData& plan, const AttendArgs& args) {
  if (plan.spec.num_branches != 1) {
    return unsupported("spec.num_branches is ", plan.spec.num_branches,
                       ", the cuda backend has one");
  }
  if (plan.spec.normalizer != Normalizer::kSoftmax) {
    return unsupported("spec.normalizer is kPointwise, the cuda backend has kSoftmax");
  }
  const Epilogue& epilogue = args.epilogue;
  if (epilogue.gate.data != nullptr || epilogue.residual.data != nullptr ||
      epilogue.scale != 1.0f) {
    return unsupported("epilogue is given, the cuda backend has none");
  }
  if (args.row_max != nullptr) return unsupported("row_max is given, the cuda backend has none");
  if (args.score_hook.call != nullptr) {
    return unsupported("score_hook is given, the cuda backend calls none");
  }
  if (args.weight_hook.call != nullptr) {
    return unsupported("weight_hook is given, the cuda backend calls none");
  }
  return {};
}

}  // namespace

Status supports_attend(const PlanData& plan, const AttendArgs& args) {
  if (args.q.device != Device::kCuda) {
    return unsupported("q.device is cpu, the cuda backend reads device memory only");
  }
  if (Status s = check_extras(plan, args); !s.ok()) return s;
  if (Status s = check_layout(args.kv); !s.ok()) return s;
  if (Status s = check_dtypes(args); !s.ok()) return s;
  if (args.kv.v_is_k_prefix) {
    return unsupported("kv.v_is_k_prefix is set, the cuda backend wants V of its own");
  }
  if (padded_dim(plan.spec.head_dim, plan.spec.head_dim_v) == 0) {
    return unsupported("head_dim is ", plan.spec.head_dim, ", head_dim_v ", plan.spec.head_dim_v,
                       ", the cuda backend has at most 256");
  }
  const DeviceLengths& lengths = args.device_lengths;
  if (lengths.seqused_k != nullptr) {
    if (plan.spec.window_left >= 0) {
      return unsupported("device_lengths.seqused_k is given, spec.window_left is ",
                         plan.spec.window_left, ": such plans hold for one length");
    }
    if (plan.mask != nullptr || plan.score != nullptr) {
      return unsupported("device_lengths.seqused_k is given with spec.",
                         plan.mask != nullptr ? "mask" : "score",
                         ": such plans hold for one length");
    }
  }
  if (plan.spec.arithmetic == Arithmetic::kFloat32) {
    return unsupported("arithmetic is kFloat32, the cuda backend rounds weights to 16 bits");
  }
  return {};
}

Status supports_append(const AppendArgs& args) { return check_layout(args.kv); }

Status supports_merge(const MergeTask& task) {
  const size_t sources = task.states.size() + task.partials.size();
  if (sources > MergeParams::kMaxSources) {
    return unsupported(task.states.empty() ? "partials has " : "states has ", sources,
                       " entries, the cuda backend merges at most ", MergeParams::kMaxSources,
                       " in a call");
  }
  if (task.out.shape[2] <= 256) return {};
  return unsupported("out.shape[2] is ", task.out.shape[2], ", the cuda backend has at most 256");
}

}  // namespace attnrt::cuda
