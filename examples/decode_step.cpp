// SPDX-License-Identifier: Apache-2.0
// One step of an engine: two sequences decode, a third brings its prompt, in the same call. The
// plan is made once, then every layer appends its new keys and attends.
#include <attnrt/attnrt.hpp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

namespace {

using attnrt::DType;
using attnrt::Status;

constexpr int32_t kLayers = 4;
constexpr int32_t kHeadsQ = 32;
constexpr int32_t kHeadsKv = 8;
constexpr int32_t kHeadDim = 128;
constexpr int32_t kPageSize = 16;
constexpr int32_t kPages = 128;

std::vector<uint16_t> random_bf16(int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<uint16_t> values(static_cast<size_t>(count));
  for (uint16_t& value : values) value = attnrt::f32_to_bf16(normal(random));
  return values;
}

// The cache of one layer, here with the past already in it, and what the layer computes in this
// step: queries of all heads, and keys and values of the new tokens.
struct Layer {
  std::vector<uint16_t> cache_k, cache_v, q, new_k, new_v, out;
};

Layer make_layer(int32_t tokens, std::mt19937& random) {
  const int64_t cache = int64_t{kPages} * kPageSize * kHeadsKv * kHeadDim;
  Layer layer;
  layer.cache_k = random_bf16(cache, random);
  layer.cache_v = random_bf16(cache, random);
  layer.q = random_bf16(int64_t{tokens} * kHeadsQ * kHeadDim, random);
  layer.new_k = random_bf16(int64_t{tokens} * kHeadsKv * kHeadDim, random);
  layer.new_v = random_bf16(int64_t{tokens} * kHeadsKv * kHeadDim, random);
  layer.out.resize(layer.q.size());
  return layer;
}

// Lengths before this step, new tokens of this step, and where the pages are.
struct Step {
  std::vector<int32_t> cache_seqlens, cu_seqlens_q, seqused_k, pages;
  int32_t max_pages = 0;
};

Status run_step(attnrt::Context& context, const Step& step, std::vector<Layer>& layers) {
  attnrt::AttentionSpec spec;
  spec.num_heads_q = kHeadsQ;
  spec.num_heads_kv = kHeadsKv;
  spec.head_dim = kHeadDim;
  spec.causal = true;

  attnrt::SequenceBatch batch;
  batch.cu_seqlens_q = step.cu_seqlens_q;
  batch.seqused_k = step.seqused_k;
  batch.block_table = attnrt::BlockTable::dense(step.pages, step.max_pages, kPageSize);
  attnrt::Plan plan;
  if (Status status = make_plan(spec, batch, plan); !status.ok()) return status;

  const int64_t tokens = plan.total_q();
  for (Layer& layer : layers) {
    const attnrt::KvView kv =
        attnrt::KvView::paged(layer.cache_k.data(), layer.cache_v.data(), DType::kBF16,
                              attnrt::KvLayout::kNHD, kPages, kPageSize, kHeadsKv, kHeadDim);

    attnrt::AppendArgs append;
    append.k = dense_tensor(layer.new_k.data(), DType::kBF16, tokens, kHeadsKv, kHeadDim);
    append.v = dense_tensor(layer.new_v.data(), DType::kBF16, tokens, kHeadsKv, kHeadDim);
    append.kv = kv;
    append.cu_seqlens_new = step.cu_seqlens_q;
    append.cache_seqlens = step.cache_seqlens;
    append.block_table = batch.block_table;
    if (Status status = append_kv(context, append); !status.ok()) return status;

    attnrt::AttendArgs attend_args;
    attend_args.q = dense_tensor(layer.q.data(), DType::kBF16, tokens, kHeadsQ, kHeadDim);
    attend_args.kv = kv;
    attend_args.out = dense_tensor(layer.out.data(), DType::kBF16, tokens, kHeadsQ, kHeadDim);
    if (Status status = attend(context, plan, attend_args); !status.ok()) return status;
  }
  return {};
}

// The 1,000-token sequence of the step on its own, its row of the batch cut out.
Step first_sequence(const Step& step) {
  Step alone = step;
  alone.cache_seqlens.resize(1);
  alone.seqused_k.resize(1);
  alone.cu_seqlens_q.resize(2);
  alone.pages.resize(static_cast<size_t>(step.max_pages));
  return alone;
}

}  // namespace

int main() {
  // Sequence 0 has 999 tokens and decodes its 1,000th, sequence 1 its 301st; 2 is a new prompt.
  Step step;
  step.cache_seqlens = {999, 300, 0};
  step.cu_seqlens_q = {0, 1, 2, 72};
  step.seqused_k = {1000, 301, 70};
  step.max_pages = 63;
  step.pages.assign(size_t{3} * 63, -1);  // entries that no sequence needs are never read
  int32_t next_page = kPages;             // any order will do: pages need not be neighbours
  for (size_t seq = 0; seq < 3; ++seq) {
    const int32_t pages = (step.seqused_k[seq] + kPageSize - 1) / kPageSize;
    for (int32_t i = 0; i < pages; ++i) step.pages[seq * 63 + static_cast<size_t>(i)] = --next_page;
  }

  std::mt19937 random(1);
  std::vector<Layer> layers;
  layers.reserve(kLayers);
  for (int32_t i = 0; i < kLayers; ++i) layers.push_back(make_layer(72, random));

  attnrt::Context context;
  Status status = run_step(context, step, layers);
  const std::vector<uint16_t> out = layers.back().out;
  if (status.ok()) status = run_step(context, first_sequence(step), layers);
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", to_string(status.code()), status.message().c_str());
    return 1;
  }

  // What a sequence gets never depends on the batch around it: the bits are equal.
  const size_t row_bytes = size_t{kHeadsQ} * kHeadDim * sizeof(uint16_t);
  const bool equal = std::memcmp(out.data(), layers.back().out.data(), row_bytes) == 0;
  std::printf("%d layers on %s/%s; sequence 0 in the batch and alone: %s\n", kLayers,
              context.backend().data(), context.isa().data(), equal ? "equal bits" : "DIFFERENT");
  return equal ? 0 : 1;
}
