// SPDX-License-Identifier: Apache-2.0
// Documents of different lengths packed into one sequence, as for training or scoring: a token sees
// the earlier tokens of its own document. The mask is an expression over a table of document ids;
// the plan finds out which blocks of it are empty. Checked against the same documents as a batch.
#include <algorithm>
#include <attnrt/attnrt.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <span>
#include <vector>

namespace {

using attnrt::DType;
using attnrt::Status;
namespace expr = attnrt::expr;

constexpr int32_t kHeadsQ = 8;
constexpr int32_t kHeadsKv = 2;
constexpr int32_t kHeadDim = 64;
constexpr int32_t kDocuments[] = {700, 45, 1300, 203, 512, 90, 1246};

// Q, K and V of the packed sequence.
struct Layer {
  std::vector<float> q, k, v;
  int32_t tokens = 0;
};

Layer make_layer(int32_t tokens) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const size_t each = static_cast<size_t>(tokens) * kHeadDim;
  Layer layer{std::vector<float>(each * kHeadsQ), std::vector<float>(each * kHeadsKv),
              std::vector<float>(each * kHeadsKv), tokens};
  for (auto* values : {&layer.q, &layer.k, &layer.v}) {
    for (float& value : *values) value = normal(random);
  }
  return layer;
}

attnrt::AttentionSpec make_spec() {
  attnrt::AttentionSpec spec;
  spec.num_heads_q = kHeadsQ;
  spec.num_heads_kv = kHeadsKv;
  spec.head_dim = kHeadDim;
  return spec;
}

// The plan of one sequence: token t belongs to document documents[t].
Status plan_packed(std::span<const int32_t> documents, attnrt::Plan& plan) {
  using expr::kv, expr::q;
  // The ids ascend, and saying so lets the plan find the ends of a document by bisection.
  const expr::Buffer doc = expr::buffer("doc", expr::ElementType::kI32, 1, expr::Order::kSorted);
  attnrt::AttentionSpec spec = make_spec();
  if (Status s = compile_mask(doc[q()] == doc[kv()] && kv() <= q(), spec.mask); !s.ok()) return s;

  const auto tokens = static_cast<int32_t>(documents.size());
  const int32_t cu_seqlens[] = {0, tokens};
  const expr::SlotValue values[] = {
      buffer_value("doc", expr::ElementType::kI32, documents.data(), {tokens})};
  attnrt::SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens;
  batch.cu_seqlens_k = cu_seqlens;
  batch.mask_values = values;
  return make_plan(spec, batch, plan);
}

// The plan of a batch of documents, one after the other in the same tensors.
Status plan_ragged(std::span<const int32_t> cu_seqlens, attnrt::Plan& plan) {
  attnrt::AttentionSpec spec = make_spec();
  spec.causal = true;
  attnrt::SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens;
  batch.cu_seqlens_k = cu_seqlens;
  return make_plan(spec, batch, plan);
}

Status run(attnrt::Context& context, const attnrt::Plan& plan, Layer& layer,
           std::vector<float>& out) {
  out.resize(layer.q.size());
  attnrt::AttendArgs args;
  args.q = dense_tensor(layer.q.data(), DType::kF32, layer.tokens, kHeadsQ, kHeadDim);
  args.kv = attnrt::KvView::packed(layer.k.data(), layer.v.data(), DType::kF32, layer.tokens,
                                   kHeadsKv, kHeadDim);
  args.out = dense_tensor(out.data(), DType::kF32, layer.tokens, kHeadsQ, kHeadDim);
  return attend(context, plan, args);
}

}  // namespace

int main() {
  std::vector<int32_t> documents, cu_seqlens{0};
  for (const int32_t length : kDocuments) {
    const auto id = static_cast<int32_t>(cu_seqlens.size());
    documents.insert(documents.end(), static_cast<size_t>(length), id);
    cu_seqlens.push_back(cu_seqlens.back() + length);
  }
  Layer layer = make_layer(cu_seqlens.back());

  attnrt::Context context;
  attnrt::Plan packed, ragged;
  std::vector<float> out, expected;
  Status status = plan_packed(documents, packed);
  if (status.ok()) status = plan_ragged(cu_seqlens, ragged);
  if (status.ok()) status = run(context, packed, layer, out);
  if (status.ok()) status = run(context, ragged, layer, expected);
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", to_string(status.code()), status.message().c_str());
    return 1;
  }

  float worst = 0.0f;
  bool close = true;
  for (size_t i = 0; i < out.size(); ++i) {
    const float difference = std::fabs(out[i] - expected[i]);
    close = close && difference < 1e-5f;  // NaN is not close
    worst = std::max(worst, difference);
  }
  std::printf("%s", packed.to_string().c_str());
  std::printf("%d tokens: %.0f %% of the blocks are never touched\n", layer.tokens,
              100.0 * packed.sparsity().sparsity());
  std::printf("packed documents and a batch of them differ by at most %g\n",
              static_cast<double>(worst));
  return close ? 0 : 1;
}
