// SPDX-License-Identifier: Apache-2.0
// Decoding as StreamingLLM does: a token sees the last keys and the first few, the pages between
// are given back while sequences grow. Both numbers are slots of one mask. The layer's softmax has
// learned sinks, too, as gpt-oss has. Checked against a plain loop over the keys that are kept.
#include <algorithm>
#include <attnrt/attnrt.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnrt::DType;
using attnrt::Status;
namespace expr = attnrt::expr;

constexpr int32_t kHeadsQ = 8;
constexpr int32_t kHeadsKv = 2;
constexpr int32_t kHeadDim = 64;
constexpr int32_t kPageSize = 16;
constexpr int32_t kWindow = 1024;
constexpr int32_t kFirst = 4;
constexpr int32_t kMaxPages = 626;  // of a sequence: 10,016 keys
constexpr int32_t kSequences = 3;
constexpr int32_t kSteps = 16;
constexpr int32_t kPages = 1 + kSequences * kMaxPages;
constexpr int32_t kFreed = 0;  // the page that stands for those given back

struct Cache {
  std::vector<float> k, v;
  std::vector<int32_t> block_table;  // (kSequences, kMaxPages)

  // First element of key `key` of sequence `seq` and KV head `head`, in k and in v.
  [[nodiscard]] size_t at(size_t seq, int32_t key, int32_t head) const {
    const int32_t page = block_table[seq * kMaxPages + static_cast<size_t>(key / kPageSize)];
    const int64_t token = int64_t{page} * kPageSize + key % kPageSize;
    return static_cast<size_t>((token * kHeadsKv + head) * kHeadDim);
  }
};

// With the past and the keys of the next tokens already in it, and NaN in the freed page: whoever
// reads it, fails.
Cache make_cache(std::mt19937& random) {
  std::normal_distribution<float> normal;
  Cache cache;
  cache.k.resize(size_t{kPages} * kPageSize * kHeadsKv * kHeadDim);
  cache.v.resize(cache.k.size());
  const size_t page = size_t{kPageSize} * kHeadsKv * kHeadDim;
  for (auto* values : {&cache.k, &cache.v}) {
    for (float& value : *values) value = normal(random);
    std::fill_n(values->begin(), page, std::numeric_limits<float>::quiet_NaN());
  }
  for (int32_t i = 1; i < kPages; ++i) cache.block_table.push_back(i);
  return cache;
}

// Gives back the pages that no later token will see either; how many pages are left.
int32_t free_pages(Cache& cache, const std::vector<int32_t>& lengths) {
  int32_t kept = 0;
  for (size_t seq = 0; seq < lengths.size(); ++seq) {
    const int32_t used = (lengths[seq] + kPageSize - 1) / kPageSize;
    const int32_t window = std::max(0, lengths[seq] - kWindow) / kPageSize;
    for (int32_t page = (kFirst + kPageSize - 1) / kPageSize; page < window; ++page) {
      cache.block_table[seq * kMaxPages + static_cast<size_t>(page)] = kFreed;
    }
    for (int32_t page = 0; page < used; ++page) {
      kept += cache.block_table[seq * kMaxPages + static_cast<size_t>(page)] != kFreed ? 1 : 0;
    }
  }
  return kept;
}

// The definition, for one sequence and head: out[0 .. kHeadDim).
std::vector<double> plain_loop(const Cache& cache, size_t seq, int32_t length, int32_t head,
                               const float* q, float sink) {
  std::vector<double> out(kHeadDim);
  double sum = std::exp(static_cast<double>(sink));  // scores are small here: no maximum needed
  for (int32_t key = 0; key < length; ++key) {
    if (key >= kFirst && length - 1 - key >= kWindow) continue;
    const size_t at = cache.at(seq, key, head / (kHeadsQ / kHeadsKv));
    double score = 0.0;
    for (size_t d = 0; d < kHeadDim; ++d) score += static_cast<double>(q[d]) * cache.k[at + d];
    const double weight = std::exp(score / std::sqrt(double{kHeadDim}));
    sum += weight;
    for (size_t d = 0; d < kHeadDim; ++d) out[d] += weight * cache.v[at + d];
  }
  for (double& value : out) value /= sum;
  return out;
}

// What all steps share.
struct Decoder {
  attnrt::AttentionSpec spec;
  attnrt::Context context;
  attnrt::Plan plan;
  std::vector<float> sinks = std::vector<float>(kHeadsQ);
  std::vector<float> q = std::vector<float>(kSequences * kHeadsQ * kHeadDim);
  std::vector<float> out = std::vector<float>(q.size());
};

Status init(Decoder& decoder) {
  attnrt::AttentionSpec& spec = decoder.spec;
  spec.num_heads_q = kHeadsQ;
  spec.num_heads_kv = kHeadsKv;
  spec.head_dim = kHeadDim;
  spec.causal = true;
  spec.has_sinks = true;
  expr::Expr mask;
  if (Status s = expr::parse("q - kv < window || kv < first", mask); !s.ok()) return s;
  return compile_mask(mask, spec.mask);
}

// One token for each sequence. Later plans keep what the first one learnt.
Status step(Decoder& decoder, Cache& cache, const std::vector<int32_t>& lengths) {
  const int32_t cu_seqlens_q[] = {0, 1, 2, 3};
  const expr::SlotValue values[] = {expr::int_value("window", kWindow),
                                    expr::int_value("first", kFirst)};
  attnrt::SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens_q;
  batch.seqused_k = lengths;
  batch.block_table = attnrt::BlockTable::dense(cache.block_table, kMaxPages, kPageSize);
  batch.mask_values = values;
  if (Status s = decoder.plan.valid() ? extend_plan(batch, decoder.plan)
                                      : make_plan(decoder.spec, batch, decoder.plan);
      !s.ok()) {
    return s;
  }
  attnrt::AttendArgs args;
  args.q = dense_tensor(decoder.q.data(), DType::kF32, kSequences, kHeadsQ, kHeadDim);
  args.kv = attnrt::KvView::paged(cache.k.data(), cache.v.data(), DType::kF32,
                                  attnrt::KvLayout::kNHD, kPages, kPageSize, kHeadsKv, kHeadDim);
  args.out = dense_tensor(decoder.out.data(), DType::kF32, kSequences, kHeadsQ, kHeadDim);
  args.sinks = decoder.sinks;
  return attend(decoder.context, decoder.plan, args);
}

// The largest difference to the plain loop; NaN where there is one.
double check(const Decoder& decoder, const Cache& cache, const std::vector<int32_t>& lengths) {
  double worst = 0.0;
  for (size_t row = 0; row < kSequences * kHeadsQ; ++row) {
    const size_t seq = row / kHeadsQ;
    const auto head = static_cast<int32_t>(row % kHeadsQ);
    const std::vector<double> expected = plain_loop(
        cache, seq, lengths[seq], head, &decoder.q[row * kHeadDim], decoder.sinks[row % kHeadsQ]);
    for (size_t d = 0; d < kHeadDim; ++d) {
      const double difference = std::fabs(decoder.out[row * kHeadDim + d] - expected[d]);
      if (difference > worst || std::isnan(difference)) worst = difference;
    }
  }
  return worst;
}

}  // namespace

int main() {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  Cache cache = make_cache(random);
  std::vector<int32_t> lengths = {10000, 3000, 200};
  Decoder decoder;
  for (float& sink : decoder.sinks) sink = normal(random);

  Status status = init(decoder);
  double worst = 0.0;
  int32_t pages = 0;
  for (int32_t i = 0; i < kSteps && status.ok(); ++i) {
    for (int32_t& length : lengths) ++length;
    pages = free_pages(cache, lengths);
    for (float& value : decoder.q) value = normal(random);
    status = step(decoder, cache, lengths);
    if (!status.ok()) break;
    const double difference = check(decoder, cache, lengths);
    if (difference > worst || std::isnan(difference)) worst = difference;
  }
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", to_string(status.code()), status.message().c_str());
    return 1;
  }
  std::printf("sequences of %d, %d and %d keys: %d pages of %d are kept\n", lengths[0], lengths[1],
              lengths[2], pages, kPageSize);
  std::printf("%d steps and a plain loop differ by at most %g\n", kSteps, worst);
  return worst < 1e-5 ? 0 : 1;
}
