// SPDX-License-Identifier: Apache-2.0
// FlashAttention-shaped calls: translate, plan with the context's own plan, append, attend.
#include "attnrt/flash_attn.hpp"

#include <string>
#include <utility>

#include "src/append.hpp"
#include "src/context.hpp"
#include "src/extent.hpp"
#include "src/flash_call.hpp"
#include "src/refuse.hpp"
#include "src/validate.hpp"

namespace attnrt {
namespace {

// Both argument structs have these fields under the same names.
template <class Args>
AttentionSpec spec_of(const Args& args, const KvView& kv) {
  AttentionSpec spec;
  spec.num_heads_q = static_cast<int32_t>(args.q.shape[1]);
  spec.num_heads_kv = kv.num_heads_kv;
  spec.head_dim = kv.head_dim;
  spec.head_dim_v = kv.head_dim_v;
  spec.softmax_scale = args.softmax_scale;
  spec.causal = args.causal;
  spec.window_left = args.window_size_left;
  spec.window_right = args.window_size_right;
  spec.softcap = args.softcap;
  spec.has_alibi = !args.alibi_slopes.empty();
  spec.has_sinks = !args.sinks.empty();
  return spec;
}

template <class Args>
AttendArgs attend_args_of(const Args& args, const KvView& kv) {
  AttendArgs attend_args;
  attend_args.q = args.q;
  attend_args.kv = kv;
  attend_args.out = args.out;
  attend_args.lse = args.softmax_lse;
  attend_args.alibi_slopes = args.alibi_slopes;
  attend_args.sinks = args.sinks;
  attend_args.stop = args.stop;
  return attend_args;
}

// The given prefix sums, or those of equal shares of `total`.
std::span<const int32_t> prefix_sums(std::span<const int32_t> given, int64_t total, int64_t batch,
                                     std::vector<int32_t>& memory) {
  if (!given.empty()) return given;
  memory.resize(static_cast<size_t>(batch) + 1);
  for (int64_t b = 0; b <= batch; ++b) {
    memory[static_cast<size_t>(b)] = static_cast<int32_t>(batch == 0 ? 0 : total / batch * b);
  }
  return memory;
}

// Rows of an unpaged cache are pages as long as the cache.
BlockTable table_of(const FlashAttnKvCacheArgs& args, std::vector<int32_t>& memory) {
  if (!has_cache_rows(args)) return dense_table(args);
  memory.resize(static_cast<size_t>(args.batch_size));
  for (size_t b = 0; b < memory.size(); ++b) {
    memory[b] = args.cache_batch_idx.empty() ? static_cast<int32_t>(b) : args.cache_batch_idx[b];
  }
  return BlockTable::dense(memory, 1, args.kv_cache.page_size);
}

RotaryView rotary_of(const FlashAttnKvCacheArgs& args) {
  RotaryView rotary;
  rotary.cos = args.rotary_cos;
  rotary.sin = args.rotary_sin;
  rotary.dtype = args.rotary_dtype;
  rotary.max_position = args.rotary_seqlen;
  rotary.rotary_dim = args.rotary_dim;
  rotary.interleaved = args.rotary_interleaved;
  return rotary;
}

AppendArgs append_args_of(const FlashAttnKvCacheArgs& args, const BlockTable& table,
                          std::vector<int32_t>& sums_memory) {
  AppendArgs append;
  append.k = args.k;
  append.v = args.v;
  append.kv = args.kv_cache;
  append.cu_seqlens_new =
      prefix_sums(args.cu_seqlens_k_new, args.k.shape[0], args.batch_size, sums_memory);
  append.cache_seqlens = args.cache_seqlens;
  append.block_table = table;
  append.rotary = rotary_of(args);
  return append;
}

void fill_lengths(const FlashAttnKvCacheArgs& args, std::vector<int32_t>& lengths) {
  lengths.assign(args.cache_seqlens.begin(), args.cache_seqlens.end());
  if (!has_new_keys(args)) return;
  for (size_t b = 0; b < lengths.size(); ++b) {
    lengths[b] += static_cast<int32_t>(tokens_of(args.cu_seqlens_k_new, args.k.shape[0],
                                                 args.batch_size, static_cast<int64_t>(b)));
  }
}

// Queries are rotated by cache slot (leftpad counts, as in FlashAttention), whereas masks count
// from the first valid key and from the last query: AttendArgs::rotary_q has only the latter.
// So q is rotated once into f32 memory, by the same code that rotates K.
struct RotatedQuery {
  AppendArgs args;
  ConstTensorView q;
};

Status prepare_rotation(const FlashAttnKvCacheArgs& args, std::span<const int32_t> cu_seqlens_q,
                        Context::Impl& impl, RotatedQuery& rotated) {
  const std::array<int64_t, 3>& shape = args.q.shape;
  const int64_t bytes = capped_mul(capped_mul(capped_mul(shape[0], shape[1]), shape[2]), 4);
  if (bytes == kHuge || !impl.rotated_q.grow(static_cast<size_t>(bytes))) {
    return Status(Code::kOutOfMemory, "no memory for the rotated queries");
  }
  impl.positions.resize(static_cast<size_t>(shape[0]));
  for (size_t b = 0; b < args.cache_seqlens.size(); ++b) {
    for (int32_t i = cu_seqlens_q[b]; i < cu_seqlens_q[b + 1]; ++i) {
      impl.positions[static_cast<size_t>(i)] =
          args.cache_seqlens[b] + (rotates_by_row(args) ? i - cu_seqlens_q[b] : 0);
    }
  }
  const auto heads = static_cast<int32_t>(shape[1]);
  const auto dim = static_cast<int32_t>(shape[2]);
  float* data = reinterpret_cast<float*>(impl.rotated_q.memory().data());
  rotated.args.k = args.q;
  rotated.args.kv = KvView::packed(data, data, DType::kF32, shape[0], heads, dim);
  rotated.args.kv.v_is_k_prefix = true;
  rotated.args.rotary = rotary_of(args);
  rotated.args.rotary_positions = impl.positions;
  rotated.q = dense_tensor(static_cast<const void*>(data), DType::kF32, shape[0], heads, dim);
  return {};
}

// On a device q is rotated as it is read, by its positions in attention, which then have to be
// those that FlashAttention rotates by.
Status rotate_on_device(const FlashAttnKvCacheArgs& args, const PlanData& plan,
                        AttendArgs& attend_args) {
  if (args.rotary_cos == nullptr) return {};
  for (size_t b = 0; b < plan.sequences.size(); ++b) {
    const PlanSequence& seq = plan.sequences[b];
    if (seq.q_len == 0 || seq.q_start == args.cache_seqlens[b]) continue;
    std::string message;
    const auto add = [&](const auto&... parts) { (append_part(message, parts), ...); };
    add("rotary_cos is given, q is on a device: queries of sequence ", b,
        " are rotated from cache_seqlens on, ", args.cache_seqlens[b], ", and attend from ",
        seq.q_start, " on (both are one with as many new keys as queries and no cache_leftpad)");
    return Status(Code::kUnsupported, std::move(message));
  }
  attend_args.rotary_q = rotary_of(args);
  attend_args.rotary_q_constant = !rotates_by_row(args);
  return {};
}

Status run_varlen(Context& context, const FlashAttnVarlenArgs& args) {
  if (Status status = ready(context); !status.ok()) return status;
  if (Status status = validate_flash_attn(args); !status.ok()) return status;
  SequenceBatch batch;
  batch.cu_seqlens_q = args.cu_seqlens_q;
  batch.cu_seqlens_k = args.cu_seqlens_k;
  batch.seqused_k = args.seqused_k;
  if (args.kv.layout != KvLayout::kPacked) {
    batch.block_table = BlockTable::dense(args.block_table, args.max_pages, args.kv.page_size,
                                          args.block_table_stride);
  }
  Plan& plan = context.impl()->plan;
  if (Status status = make_plan(spec_of(args, args.kv), batch, plan); !status.ok()) return status;
  const AttendArgs attend_args = attend_args_of(args, args.kv);
  ArgNames names = kAttendNames;
  names.lse = "softmax_lse";
  if (Status status = validate_attend(*plan.data(), attend_args, names); !status.ok()) {
    return status;
  }
  return attend(context, plan, attend_args);
}

Status run_kvcache(Context& context, const FlashAttnKvCacheArgs& args) {
  if (Status status = ready(context); !status.ok()) return status;
  if (Status status = validate_flash_attn(args); !status.ok()) return status;
  Context::Impl& impl = *context.impl();
  const BlockTable table = table_of(args, impl.pages);
  fill_lengths(args, impl.lengths);
  SequenceBatch batch;
  batch.cu_seqlens_q =
      prefix_sums(args.cu_seqlens_q, args.q.shape[0], args.batch_size, impl.cu_seqlens_q);
  batch.seqused_k = impl.lengths;
  batch.block_table = table;
  batch.leftpad_k = args.cache_leftpad;
  const AttentionSpec spec = spec_of(args, args.kv_cache);
  if (Status status = make_plan(spec, batch, impl.plan); !status.ok()) return status;

  // Nothing may be written before the last check and the last allocation.
  const PlanData& data = *impl.plan.data();
  AttendArgs attend_args = attend_args_of(args, args.kv_cache);
  const bool on_device = args.q.device != Device::kCpu;
  if (on_device) {
    if (Status s = rotate_on_device(args, data, attend_args); !s.ok()) return s;
  }
  if (Status s = validate_attend(data, attend_args, kCacheCallNames); !s.ok()) return s;
  const bool appends = has_new_keys(args);
  AppendArgs append;
  if (appends) {
    append = append_args_of(args, table, impl.cu_seqlens_k);
    if (Status s = validate_append(append, kCacheCallNames); !s.ok()) return s;
    if (Status s = validate_flash_attn_memory(args); !s.ok()) return s;
  }
  Executor by;
  if (Status s = executor_for(impl, args.q.device, by); !s.ok()) return s;
  if (Status s = by.backend->supports(data, attend_args); !s.ok()) return s;
  Status reserved =
      on_device ? context.reserve(impl.plan, attend_args) : context.reserve(impl.plan);
  if (!reserved.ok()) return reserved;

  if (args.rotary_cos != nullptr && !on_device) {
    RotatedQuery rotated;
    if (Status s = prepare_rotation(args, batch.cu_seqlens_q, impl, rotated); !s.ok()) return s;
    if (Status s = append_rows(impl, rotated.args); !s.ok()) return s;
    attend_args.q = rotated.q;
  }
  if (appends) {
    if (Status s = append_checked(impl, append); !s.ok()) return s;
  }
  return attend(context, impl.plan, attend_args);
}

}  // namespace

Status flash_attn_varlen(Context& context, const FlashAttnVarlenArgs& args) {
  return guarded([&] { return run_varlen(context, args); });
}

Status flash_attn_with_kvcache(Context& context, const FlashAttnKvCacheArgs& args) {
  return guarded([&] { return run_kvcache(context, args); });
}

}  // namespace attnrt
