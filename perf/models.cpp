// SPDX-License-Identifier: Apache-2.0
// The table of models and their checks. The numbers are those of the config.json that each model
// is published with; the field names in the comments are theirs.
#include "perf/models.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "perf/cli.hpp"
#include "perf/parse.hpp"

namespace attnrt::perf {
namespace {

// Far above any model (576 is the largest), and small enough for every product to fit in int64.
constexpr int64_t kMaxHeadDim = 65536;
constexpr int64_t kMaxTokenElements = int64_t{1} << 24;
constexpr int64_t kMaxWindow = int64_t{1} << 30;

AttentionSpec causal_spec(int32_t heads_q, int32_t heads_kv, int32_t head_dim) {
  AttentionSpec spec;
  spec.num_heads_q = heads_q;
  spec.num_heads_kv = heads_kv;
  spec.head_dim = head_dim;
  spec.head_dim_v = head_dim;
  spec.causal = true;
  return spec;
}

LayerKind full(const AttentionSpec& spec) { return {"full", spec}; }

/// sliding_window in a config counts the query's own key, window_left does not.
LayerKind windowed(AttentionSpec spec, int32_t sliding_window) {
  spec.window_left = sliding_window - 1;
  return {fmt::format("window {}", sliding_window), spec};
}

/// google/gemma-2-9b: head_dim 256, query_pre_attn_scalar 256 (so the usual scale),
/// attn_logit_softcapping 50, sliding_window 4096 in layers 0, 2, 4, ..
Model gemma_2_9b() {
  AttentionSpec spec = causal_spec(16, 8, 256);
  spec.softcap = 50.0f;
  return {"gemma-2-9b", {windowed(spec, 4096), full(spec)}, 42, false};
}

/// openai/gpt-oss-20b: head_dim 64, a learned sink per head, sliding_window 128 in layers 0, 2, ..
Model gpt_oss_20b() {
  AttentionSpec spec = causal_spec(64, 8, 64);
  spec.has_sinks = true;
  return {"gpt-oss-20b", {windowed(spec, 128), full(spec)}, 24, false};
}

/// deepseek-ai/DeepSeek-V3, with the up-projections absorbed into q and the output: all heads
/// share one latent row of kv_lora_rank 512 + qk_rope_head_dim 64, whose first 512 are V. The
/// scale stays that of the unabsorbed head (qk_nope_head_dim 128 + 64) times YaRN's mscale squared
/// (factor 40, mscale_all_dim 1).
Model deepseek_v3() {
  AttentionSpec spec = causal_spec(128, 1, 576);
  spec.head_dim_v = 512;
  const double mscale = 0.1 * std::log(40.0) + 1.0;
  spec.softmax_scale = static_cast<float>(mscale * mscale / std::sqrt(192.0));
  return {"deepseek-v3", {full(spec)}, 61, true};
}

std::vector<Model> make_models() {
  return {
      // meta-llama/Llama-3.1-8B: num_attention_heads 32, num_key_value_heads 8, hidden_size 4096.
      {"llama-3.1-8b", {full(causal_spec(32, 8, 128))}, 32, false},
      // Qwen/Qwen2.5-7B: 28 and 4 heads, hidden_size 3584; use_sliding_window is false.
      {"qwen2.5-7b", {full(causal_spec(28, 4, 128))}, 28, false},
      // mistralai/Mistral-7B-v0.1: sliding_window 4096 in every layer (later versions: none).
      {"mistral-7b", {windowed(causal_spec(32, 8, 128), 4096)}, 32, false},
      gemma_2_9b(),
      gpt_oss_20b(),
      deepseek_v3(),
  };
}

int32_t checked(std::string_view option, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most) {
    throw BadInput(fmt::format("{} is {}; it must be {} to {}", option, value, least, most));
  }
  return static_cast<int32_t>(value);
}

}  // namespace

int64_t Model::token_bytes(DType dtype) const {
  const AttentionSpec& spec = shape();
  const int64_t columns = spec.head_dim + (v_is_k_prefix ? 0 : spec.head_dim_v);
  return spec.num_heads_kv * columns * size_of(dtype);
}

std::span<const Model> known_models() {
  static const std::vector<Model> kModels = make_models();
  return kModels;
}

const Model& find_model(std::string_view name) {
  std::string known;
  for (const Model& model : known_models()) {
    if (model.name == name) return model;
    known += (known.empty() ? "" : ", ") + model.name;
  }
  throw BadInput(fmt::format("--model is '{}'; known: {}", name, known));
}

Model custom_model(const ShapeNumbers& numbers) {
  const Heads heads = parse_heads("--heads", numbers.heads);
  const int32_t head_dim = checked("--head-dim", numbers.head_dim, 1, kMaxHeadDim);
  AttentionSpec spec = causal_spec(heads.q, heads.kv, head_dim);
  if (numbers.head_dim_v != 0) {
    spec.head_dim_v = checked("--head-dim-v", numbers.head_dim_v, 1, kMaxHeadDim);
  }
  const int64_t elements = int64_t{heads.q} * std::max(head_dim, spec.head_dim_v);
  if (elements > kMaxTokenElements) {
    throw BadInput(fmt::format("{} heads of {} columns are {} elements a token; at most {}",
                               heads.q, std::max(head_dim, spec.head_dim_v), elements,
                               kMaxTokenElements));
  }
  if (numbers.mla && (heads.kv != 1 || spec.head_dim_v > head_dim)) {
    throw BadInput(fmt::format(
        "--mla needs one KV head and --head-dim-v of at most --head-dim; got {} and {}/{}",
        numbers.heads, head_dim, spec.head_dim_v));
  }
  if (!std::isfinite(numbers.softcap) || numbers.softcap < 0.0) {
    throw BadInput(fmt::format("--softcap is {}; it must be 0 (none) or more", numbers.softcap));
  }
  spec.softcap = static_cast<float>(numbers.softcap);
  spec.has_alibi = numbers.alibi;
  spec.has_sinks = numbers.sinks;
  const int32_t window = checked("--window", numbers.window, 0, kMaxWindow);
  return {"custom", {window == 0 ? full(spec) : windowed(spec, window)}, 1, numbers.mla};
}

}  // namespace attnrt::perf
