// SPDX-License-Identifier: Apache-2.0
// Differential attention: out = (softmax(q1 k1') - lambda softmax(q2 k2')) V. Two calls of one plan
// over two caches of keys and one of values, twice as wide as the keys; the second call adds to
// what the first one wrote. Checked against a plain loop.
#include <attnrt/attnrt.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
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
struct Branch {
  std::vector<float> q, k;
};

std::vector<float> random_values(int32_t heads, int32_t head_dim, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(size_t{kTokens} * static_cast<size_t>(heads * head_dim));
  for (float& value : values) value = normal(random);
  return values;
}

Branch random_branch(std::mt19937& random) {
  return {random_values(kHeadsQ, kHeadDim, random), random_values(kHeadsKv, kHeadDim, random)};
}

Status plan_prompt(attnrt::Plan& plan) {
  attnrt::AttentionSpec spec;
  spec.num_heads_q = kHeadsQ;
  spec.num_heads_kv = kHeadsKv;
  spec.head_dim = kHeadDim;
  spec.head_dim_v = kHeadDimV;
  spec.causal = true;
  const int32_t cu_seqlens[] = {0, kTokens};
  attnrt::SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens;
  batch.cu_seqlens_k = cu_seqlens;
  return make_plan(spec, batch, plan);
}

Status differential(attnrt::Context& context, const attnrt::Plan& plan, Branch (&branches)[2],
                    std::vector<float>& v, std::vector<float>& out) {
  for (int32_t i = 0; i < 2; ++i) {
    attnrt::AttendArgs args;
    args.q = dense_tensor(branches[i].q.data(), DType::kF32, kTokens, kHeadsQ, kHeadDim);
    args.kv = attnrt::KvView::packed(branches[i].k.data(), v.data(), DType::kF32, kTokens, kHeadsKv,
                                     kHeadDim, kHeadDimV);
    args.out = dense_tensor(out.data(), DType::kF32, kTokens, kHeadsQ, kHeadDimV);
    if (i == 1) {
      args.epilogue.scale = -kLambda;
      args.epilogue.residual = args.out;  // in place: what the first call wrote
    }
    if (Status s = attend(context, plan, args); !s.ok()) return s;
  }
  return {};
}

// Adds factor * softmax(q k') V of one row and head to out[0 .. kHeadDimV).
void plain_loop(const Branch& branch, const std::vector<float>& v, size_t row, size_t head,
                double factor, std::vector<double>& out) {
  const size_t head_kv = head / (kHeadsQ / kHeadsKv);
  std::vector<double> weights;
  double sum = 0.0;
  for (size_t key = 0; key <= row; ++key) {
    const float* q = &branch.q[(row * kHeadsQ + head) * kHeadDim];
    const float* k = &branch.k[(key * kHeadsKv + head_kv) * kHeadDim];
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
  Branch branches[2] = {random_branch(random), random_branch(random)};
  std::vector<float> v = random_values(kHeadsKv, kHeadDimV, random);
  std::vector<float> out(size_t{kTokens} * kHeadsQ * kHeadDimV);

  attnrt::Context context;
  attnrt::Plan plan;
  Status status = plan_prompt(plan);
  if (status.ok()) status = differential(context, plan, branches, v, out);
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", to_string(status.code()), status.message().c_str());
    return 1;
  }

  double worst = 0.0;
  for (size_t row = 0; row < kTokens; row += 37) {
    for (size_t head = 0; head < kHeadsQ; ++head) {
      std::vector<double> expected(kHeadDimV);
      plain_loop(branches[0], v, row, head, 1.0, expected);
      plain_loop(branches[1], v, row, head, -double{kLambda}, expected);
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
