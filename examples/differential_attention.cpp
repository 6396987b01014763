// SPDX-License-Identifier: Apache-2.0
// Differential attention: out = (softmax(q1 k1') - lambda softmax(q2 k2')) V. Two branches of one
// call over two caches of keys and one of values, twice as wide as the keys, which is read once.
// Checked against a plain loop.
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

constexpr int32_t kHeadsQ = 8;
constexpr int32_t kHeadsKv = 4;
constexpr int32_t kHeadDim = 64;
constexpr int32_t kHeadDimV = 2 * kHeadDim;
constexpr int32_t kTokens = 600;
constexpr float kLambda = 0.8f;

// One of the two softmaxes: (kTokens, heads, kHeadDim).
struct Projections {
  std::vector<float> q, k;
};

std::vector<float> random_values(int32_t heads, int32_t head_dim, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(size_t{kTokens} * static_cast<size_t>(heads * head_dim));
  for (float& value : values) value = normal(random);
  return values;
}

Projections random_projections(std::mt19937& random) {
  return {random_values(kHeadsQ, kHeadDim, random), random_values(kHeadsKv, kHeadDim, random)};
}

Status plan_prompt(attnrt::Plan& plan) {
  attnrt::AttentionSpec spec;
  spec.num_heads_q = kHeadsQ;
  spec.num_heads_kv = kHeadsKv;
  spec.head_dim = kHeadDim;
  spec.head_dim_v = kHeadDimV;
  spec.num_branches = 2;
  spec.causal = true;
  const int32_t cu_seqlens[] = {0, kTokens};
  attnrt::SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens;
  batch.cu_seqlens_k = cu_seqlens;
  return make_plan(spec, batch, plan);
}

Status differential(attnrt::Context& context, const attnrt::Plan& plan, Projections (&pairs)[2],
                    std::vector<float>& v, std::vector<float>& out) {
  const auto queries = [](const Projections& pair) {
    return attnrt::dense_tensor(pair.q.data(), DType::kF32, kTokens, kHeadsQ, kHeadDim);
  };
  // (branches, heads): lambda may differ from head to head.
  std::vector<float> weights(size_t{2} * kHeadsQ, 1.0f);
  std::fill(weights.begin() + kHeadsQ, weights.end(), -kLambda);
  const attnrt::Branch second{queries(pairs[1]), pairs[1].k.data()};

  attnrt::AttendArgs args;
  args.q = queries(pairs[0]);
  args.kv = attnrt::KvView::packed(pairs[0].k.data(), v.data(), DType::kF32, kTokens, kHeadsKv,
                                   kHeadDim, kHeadDimV);
  args.out = attnrt::dense_tensor(out.data(), DType::kF32, kTokens, kHeadsQ, kHeadDimV);
  args.branches = std::span(&second, 1);
  args.branch_weights = weights;
  return attend(context, plan, args);
}

// Adds factor * softmax(q k') V of one row and head to out[0 .. kHeadDimV).
void plain_loop(const Projections& pair, const std::vector<float>& v, size_t row, size_t head,
                double factor, std::vector<double>& out) {
  const size_t head_kv = head / (kHeadsQ / kHeadsKv);
  std::vector<double> weights;
  double sum = 0.0;
  for (size_t key = 0; key <= row; ++key) {
    const float* q = &pair.q[(row * kHeadsQ + head) * kHeadDim];
    const float* k = &pair.k[(key * kHeadsKv + head_kv) * kHeadDim];
    double score = 0.0;
    for (size_t d = 0; d < kHeadDim; ++d) score += static_cast<double>(q[d]) * k[d];
    // Scores are small here: no maximum needed.
    weights.push_back(std::exp(score / std::sqrt(double{kHeadDim})));
    sum += weights.back();
  }
  for (size_t key = 0; key <= row; ++key) {
    const double weight = factor * weights[key] / sum;
    const float* value = &v[(key * kHeadsKv + head_kv) * kHeadDimV];
    for (size_t d = 0; d < kHeadDimV; ++d) out[d] += weight * value[d];
  }
}

}  // namespace

int main() {
  std::mt19937 random(5);
  Projections pairs[2] = {random_projections(random), random_projections(random)};
  std::vector<float> v = random_values(kHeadsKv, kHeadDimV, random);
  std::vector<float> out(size_t{kTokens} * kHeadsQ * kHeadDimV);

  attnrt::Context context;
  attnrt::Plan plan;
  Status status = plan_prompt(plan);
  if (status.ok()) status = differential(context, plan, pairs, v, out);
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", to_string(status.code()), status.message().c_str());
    return 1;
  }

  double worst = 0.0;
  for (size_t row = 0; row < kTokens; row += 37) {
    for (size_t head = 0; head < kHeadsQ; ++head) {
      std::vector<double> expected(kHeadDimV);
      plain_loop(pairs[0], v, row, head, 1.0, expected);
      plain_loop(pairs[1], v, row, head, -double{kLambda}, expected);
      for (size_t d = 0; d < kHeadDimV; ++d) {
        const float got = out[(row * kHeadsQ + head) * kHeadDimV + d];
        const double difference = std::fabs(got - expected[d]);
        if (difference > worst || std::isnan(difference)) worst = difference;
      }
    }
  }
  std::printf("differential attention and a plain loop differ by at most %g\n", worst);
  return worst < 1e-5 ? 0 : 1;
}
