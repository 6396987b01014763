// SPDX-License-Identifier: Apache-2.0
// Row attention of AlphaFold's Evoformer: the rows of an alignment are sequences of residues, all
// of one length; every score gets a bias of its head and pair of residues, padded residues are
// masked, and a gate is multiplied to what comes out. Checked against a plain loop.
#include <attnrt/attnrt.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

namespace {

using attnrt::DType;
using attnrt::Status;
namespace expr = attnrt::expr;

constexpr int32_t kRows = 24;  // of the alignment
constexpr int32_t kResidues = 150;
constexpr int32_t kTokens = kRows * kResidues;
constexpr int32_t kHeads = 8;
constexpr int32_t kHeadDim = 32;

struct Layer {
  std::vector<float> q, k, v;  // (kTokens, kHeads, kHeadDim)
  std::vector<float> gate;     // as q: sigmoid of a projection
  std::vector<float> bias;     // (kHeads, kResidues, kResidues), a projection of the pairs
  std::vector<uint8_t> valid;  // (kRows, kResidues)
};

Layer make_layer() {
  std::mt19937 random(6);
  std::normal_distribution<float> normal;
  const size_t elements = size_t{kTokens} * kHeads * kHeadDim;
  Layer layer;
  for (auto* values : {&layer.q, &layer.k, &layer.v, &layer.gate}) values->resize(elements);
  layer.bias.resize(size_t{kHeads} * kResidues * kResidues);
  for (auto* values : {&layer.q, &layer.k, &layer.v, &layer.gate, &layer.bias}) {
    for (float& value : *values) value = normal(random);
  }
  for (float& gate : layer.gate) gate = 1.0f / (1.0f + std::exp(-gate));
  for (int32_t i = 0; i < kTokens; ++i) layer.valid.push_back(random() % 8 != 0 ? 1 : 0);
  return layer;
}

Status plan_rows(const Layer& layer, attnrt::Plan& plan) {
  using expr::b, expr::h, expr::kv, expr::q, expr::score;
  attnrt::AttentionSpec spec;
  spec.num_heads_q = kHeads;
  spec.num_heads_kv = kHeads;
  spec.head_dim = kHeadDim;
  const expr::Buffer valid = expr::buffer("valid", expr::ElementType::kBool, 2);
  if (Status s = compile_mask(valid(b(), kv()), spec.mask); !s.ok()) return s;
  const expr::Buffer bias = expr::buffer("bias", expr::ElementType::kF32, 3);
  if (Status s = compile_score(score() + bias(h(), q(), kv()), spec.score); !s.ok()) return s;

  std::vector<int32_t> cu_seqlens;
  for (int32_t row = 0; row <= kRows; ++row) cu_seqlens.push_back(row * kResidues);
  const expr::SlotValue values[] = {
      buffer_value("valid", expr::ElementType::kBool, layer.valid.data(), {kRows, kResidues})};
  attnrt::SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens;
  batch.cu_seqlens_k = cu_seqlens;
  batch.mask_values = values;
  return make_plan(spec, batch, plan);
}

Status attend_rows(attnrt::Context& context, const attnrt::Plan& plan, Layer& layer,
                   std::vector<float>& out) {
  // The bias belongs to the layer: another one takes no new plan.
  const expr::SlotValue values[] = {buffer_value("bias", expr::ElementType::kF32, layer.bias.data(),
                                                 {kHeads, kResidues, kResidues})};
  out.resize(layer.q.size());
  attnrt::AttendArgs args;
  args.q = dense_tensor(layer.q.data(), DType::kF32, kTokens, kHeads, kHeadDim);
  args.kv = attnrt::KvView::packed(layer.k.data(), layer.v.data(), DType::kF32, kTokens, kHeads,
                                   kHeadDim);
  args.out = dense_tensor(out.data(), DType::kF32, kTokens, kHeads, kHeadDim);
  args.score_values = values;
  args.epilogue.gate = dense_tensor(layer.gate.data(), DType::kF32, kTokens, kHeads, kHeadDim);
  return attend(context, plan, args);
}

// The definition, for one token and head.
std::vector<double> plain_loop(const Layer& layer, size_t token, size_t head) {
  const size_t row = token / kResidues, residue = token % kResidues;
  const size_t at = (token * kHeads + head) * kHeadDim;
  std::vector<double> out(kHeadDim);
  double sum = 0.0;
  for (size_t j = 0; j < kResidues; ++j) {
    if (layer.valid[row * kResidues + j] == 0) continue;
    const size_t key = ((row * kResidues + j) * kHeads + head) * kHeadDim;
    double score = 0.0;
    for (size_t d = 0; d < kHeadDim; ++d) {
      score += static_cast<double>(layer.q[at + d]) * layer.k[key + d];
    }
    score /= std::sqrt(double{kHeadDim});
    score += layer.bias[(head * kResidues + residue) * kResidues + j];
    const double weight = std::exp(score);  // scores are small here: no maximum needed
    sum += weight;
    for (size_t d = 0; d < kHeadDim; ++d) out[d] += weight * layer.v[key + d];
  }
  for (size_t d = 0; d < kHeadDim; ++d) out[d] *= layer.gate[at + d] / sum;
  return out;
}

}  // namespace

int main() {
  Layer layer = make_layer();
  attnrt::Context context;
  attnrt::Plan plan;
  std::vector<float> out;
  Status status = plan_rows(layer, plan);
  if (status.ok()) status = attend_rows(context, plan, layer, out);
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", to_string(status.code()), status.message().c_str());
    return 1;
  }

  double worst = 0.0;
  for (size_t token = 0; token < kTokens; token += 11) {
    for (size_t head = 0; head < kHeads; ++head) {
      const std::vector<double> expected = plain_loop(layer, token, head);
      for (size_t d = 0; d < kHeadDim; ++d) {
        const float got = out[(token * kHeads + head) * kHeadDim + d];
        const double difference = std::fabs(got - expected[d]);
        if (difference > worst || std::isnan(difference)) worst = difference;
      }
    }
  }
  std::printf("%d rows of %d residues: gated attention and a plain loop differ by at most %g\n",
              kRows, kResidues, worst);
  return worst < 1e-5 ? 0 : 1;
}
