// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/call_params.hpp"

#include <numbers>

namespace attnrt::cuda {
namespace {

constexpr size_t kAlign = 16;

size_t aligned(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

Element element_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return Element::kFloat;
    case DType::kBF16:
      return Element::kBFloat16;
    case DType::kF16:
      return Element::kHalf;
  }
  return Element::kFloat;
}

bool on_16_bytes(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }

// Rows of 16-bit elements, each beginning at a multiple of 16 bytes. Strides of axes with one
// element are never used, but asking for them too is simpler and costs nothing that matters.
bool aligned_rows(const ConstTensorView& tensor) {
  return on_16_bytes(tensor.data) && tensor.strides[0] % 8 == 0 && tensor.strides[1] % 8 == 0;
}

bool aligned_rows(const void* data, const KvStrides& strides) {
  return on_16_bytes(data) && strides.page % 8 == 0 && strides.token % 8 == 0 &&
         strides.head % 8 == 0;
}

KvParams kv_params(const void* data, const KvStrides& strides, bool packed) {
  return {static_cast<const uint16_t*>(data), packed ? 0 : strides.page, strides.token,
          strides.head};
}

OutputParams output_params(const TensorView& out, const LseView& lse, const float* sinks) {
  OutputParams output{};
  output.out = out.data;
  output.token_stride = out.strides[0];
  output.head_stride = out.strides[1];
  output.lse = lse.data;
  output.sinks = sinks;
  output.element = element_of(out.dtype);
  output.total_q = static_cast<int32_t>(out.shape[0]);
  output.heads_q = static_cast<int32_t>(out.shape[1]);
  output.head_dim_v = static_cast<int32_t>(out.shape[2]);
  output.pairs = reinterpret_cast<uintptr_t>(out.data) % 4 == 0 && out.strides[0] % 2 == 0 &&
                 out.strides[1] % 2 == 0;
  output.lse_base_two = lse.base == LseBase::kTwo;
  output.lse_tokens_first = lse.order == LseOrder::kTokensFirst;
  output.lse_empty_plus = lse.empty == LseEmpty::kPlusInf;
  return output;
}

RotaryParams rotary_params(const RotaryView& rotary, bool constant) {
  if (rotary.cos == nullptr) return {};
  return {rotary.cos,        rotary.sin,         element_of(rotary.dtype),
          rotary.rotary_dim, rotary.interleaved, constant};
}

// The plan's own states: acc, then ref, then sum.
StateParams own_states(const PlanData& plan, std::byte* memory) {
  const auto states = static_cast<size_t>(plan.partial_tokens * plan.spec.num_heads_q);
  const size_t ref = aligned(states * static_cast<size_t>(plan.spec.head_dim_v) * sizeof(float));
  const size_t sum = ref + aligned(states * sizeof(float));
  return {reinterpret_cast<float*>(memory), reinterpret_cast<float*>(memory + ref),
          reinterpret_cast<float*>(memory + sum)};
}

}  // namespace

size_t state_bytes(const PlanData& plan) noexcept {
  const auto states = static_cast<size_t>(plan.partial_tokens * plan.spec.num_heads_q);
  return aligned(states * static_cast<size_t>(plan.spec.head_dim_v) * sizeof(float)) +
         2 * aligned(states * sizeof(float));
}

AttendParams attend_params(const AttendCall& call, const DevicePlanLayout& layout,
                           const std::byte* plan_memory, std::byte* state_memory) noexcept {
  const auto& [plan, args, score] = call;
  const AttentionSpec& spec = plan.spec;
  const KvView& kv = args.kv;
  AttendParams params{};
  params.sequences = reinterpret_cast<const DeviceSequence*>(plan_memory + layout.sequences);
  params.pages = reinterpret_cast<const int32_t*>(plan_memory + layout.pages);
  params.q = static_cast<const uint16_t*>(args.q.data);
  params.q_token_stride = args.q.strides[0];
  params.q_head_stride = args.q.strides[1];
  params.k = kv_params(kv.k, kv.k_strides, plan.page_size == 0);
  params.v = kv_params(kv.v, kv.v_strides, plan.page_size == 0);
  params.callers_states = args.partial.acc != nullptr;
  params.output = output_params(args.out, args.lse, spec.has_sinks ? args.sinks.data() : nullptr);
  params.output.total_q = plan.total_q;
  params.output.heads_q = spec.num_heads_q;
  params.output.head_dim_v = spec.head_dim_v;
  params.states = params.callers_states != 0
                      ? StateParams{args.partial.acc, args.partial.ref, args.partial.sum}
                      : own_states(plan, state_memory);
  params.rotary = rotary_params(args.rotary_q, args.rotary_q_constant);
  params.page_size = plan.page_size;
  params.group = spec.num_heads_q / spec.num_heads_kv;
  params.heads_kv = layout.unit_heads;
  params.head_dim = spec.head_dim;
  params.window_left = spec.window_left;
  params.window_right = spec.window_right;
  params.aligned =
      aligned_rows(args.q) && aligned_rows(kv.k, kv.k_strides) && aligned_rows(kv.v, kv.v_strides);
  const float unit = score.program == nullptr ? std::numbers::log2e_v<float> : 1.0f;
  const float scale = *spec.softmax_scale;
  const bool capped = score.softcap > 0.0f;
  params.softcap_log2 = capped ? score.softcap * unit : 0.0f;
  params.scale_log2 = capped ? scale / score.softcap : scale * unit;
  params.runs = reinterpret_cast<const DeviceRun*>(plan_memory + layout.runs);
  const DeviceLengths& lengths = args.device_lengths;
  params.seqused_k = lengths.seqused_k;
  if (lengths.block_table != nullptr) {
    params.pages = lengths.block_table;
    params.page_stride = static_cast<int32_t>(lengths.row_stride);
  }
  if (spec.has_alibi) {
    params.alibi = args.alibi_slopes.data();
    const bool per_sequence = args.alibi_slopes.size() != static_cast<size_t>(spec.num_heads_q);
    params.alibi_stride = per_sequence ? spec.num_heads_q : 0;
  }
  return params;
}

MergeParams plan_merge_params(const DevicePlanLayout& layout, const AttendParams& attend,
                              const std::byte* plan_memory) noexcept {
  MergeParams params{};
  params.tiles = reinterpret_cast<const DeviceMerge*>(plan_memory + layout.merges);
  params.sources[0] = attend.states;
  params.num_sources = 1;
  params.output = attend.output;
  return params;
}

MergeParams merge_params(const MergeTask& task) noexcept {
  MergeParams params{};
  params.output = output_params(task.out, task.lse, task.sinks);
  for (const PartialView& partial : task.partials) {
    const auto at = static_cast<size_t>(params.num_sources++);
    params.sources[at] = {partial.acc, partial.ref, partial.sum};
    params.num_splits[at] = partial.num_splits;
  }
  return params;
}

MergeFinishedParams merge_finished_params(const MergeTask& task) noexcept {
  MergeFinishedParams params{};
  params.output = output_params(task.out, task.lse, task.sinks);
  for (const StateView& state : task.states) {
    params.sources[params.num_sources++] = {
        state.out.data, state.out.strides[0],        state.out.strides[1],
        state.lse,      element_of(state.out.dtype), 0};
  }
  return params;
}

AppendParams append_params(const AppendTask& task, const DevicePlace* places) noexcept {
  const AppendArgs& args = *task.args;
  const KvView& kv = args.kv;
  const bool packed = kv.layout == KvLayout::kPacked;
  const auto half = [&](const ConstTensorView& source, void* target, const KvStrides& strides,
                        int32_t dim) {
    return AppendHalf{source.data,  source.strides[0],         source.strides[1],
                      target,       packed ? 0 : strides.page, strides.token,
                      strides.head, element_of(source.dtype),  dim};
  };
  AppendParams params{};
  params.places = places;
  params.slots = args.device_slots.slot_mapping;
  params.positions = args.device_slots.rotary_positions;
  params.num_slots = kv.num_tokens;
  const bool values = appends_values(args);
  params.num_halves = values ? 2 : 1;
  params.halves[0] = half(args.k, kv.k, kv.k_strides, kv.head_dim);
  if (values) params.halves[1] = half(args.v, kv.v, kv.v_strides, kv.head_dim_v);
  params.rotary = rotary_params(args.rotary, false);
  params.target_element = element_of(kv.dtype);
  params.page_size = packed ? 0 : kv.page_size;
  params.heads = kv.num_heads_kv;
  params.total_new = static_cast<int32_t>(task.total_new);
  return params;
}

}  // namespace attnrt::cuda
