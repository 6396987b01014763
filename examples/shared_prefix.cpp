// SPDX-License-Identifier: Apache-2.0
// Four sequences share a prompt of 512 tokens. Its keys are read once, as if the four queries were
// four rows of one sequence; each own part is read by its sequence; merge_states joins the two.
#include <algorithm>
#include <attnrt/attnrt.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

namespace {

using attnrt::DType;
using attnrt::Status;

constexpr int32_t kHeadsQ = 16;
constexpr int32_t kHeadsKv = 4;
constexpr int32_t kHeadDim = 64;
constexpr int32_t kPageSize = 16;
constexpr int32_t kBatch = 4;
constexpr int32_t kPrefixPages = 32;
constexpr int32_t kOwnPages = 4;
constexpr int32_t kOwnKeys = 50;
constexpr int32_t kPages = kPrefixPages + kBatch * kOwnPages;

struct State {
  std::vector<float> out = std::vector<float>(size_t{kBatch} * kHeadsQ * kHeadDim);
  std::vector<float> lse = std::vector<float>(size_t{kBatch} * kHeadsQ);
};

attnrt::TensorView rows(std::vector<float>& values) {
  return attnrt::dense_tensor(values.data(), DType::kF32, kBatch, kHeadsQ, kHeadDim);
}

// Who attends to which pages: cu_seqlens_q deals the four query rows out to the sequences.
struct Sequences {
  std::vector<int32_t> cu_seqlens_q, seqused_k, pages;
  int32_t max_pages = 0;
};

Status attend_to(attnrt::Context& context, const Sequences& sequences, const attnrt::KvView& kv,
                 std::vector<float>& q, State& state) {
  attnrt::AttentionSpec spec;
  spec.num_heads_q = kHeadsQ;
  spec.num_heads_kv = kHeadsKv;
  spec.head_dim = kHeadDim;
  attnrt::SequenceBatch batch;
  batch.cu_seqlens_q = sequences.cu_seqlens_q;
  batch.seqused_k = sequences.seqused_k;
  batch.block_table = attnrt::BlockTable::dense(sequences.pages, sequences.max_pages, kPageSize);
  attnrt::Plan plan;
  if (Status status = make_plan(spec, batch, plan); !status.ok()) return status;

  attnrt::AttendArgs args;
  args.q = rows(q);
  args.kv = kv;
  args.out = rows(state.out);
  args.lse.data = state.lse.data();
  return attend(context, plan, args);
}

// The pages that belong to sequence `seq` alone.
void add_own_pages(std::vector<int32_t>& pages, int32_t seq) {
  for (int32_t i = 0; i < kOwnPages; ++i) pages.push_back(kPrefixPages + seq * kOwnPages + i);
}

}  // namespace

int main() {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> k(size_t{kPages} * kPageSize * kHeadsKv * kHeadDim);
  std::vector<float> v(k.size());
  std::vector<float> q(size_t{kBatch} * kHeadsQ * kHeadDim);
  for (auto* values : {&k, &v, &q}) {
    for (float& value : *values) value = normal(random);
  }
  const attnrt::KvView kv =
      attnrt::KvView::paged(k.data(), v.data(), DType::kF32, attnrt::KvLayout::kNHD, kPages,
                            kPageSize, kHeadsKv, kHeadDim);

  // The prefix: one sequence with four rows. Not causal: every row is past the prefix.
  Sequences prefix{{0, kBatch}, {kPrefixPages * kPageSize}, {}, kPrefixPages};
  for (int32_t page = 0; page < kPrefixPages; ++page) prefix.pages.push_back(page);

  Sequences own{{0, 1, 2, 3, 4}, std::vector<int32_t>(kBatch, kOwnKeys), {}, kOwnPages};
  Sequences full{{0, 1, 2, 3, 4},
                 std::vector<int32_t>(kBatch, kPrefixPages * kPageSize + kOwnKeys),
                 {},
                 kPrefixPages + kOwnPages};
  for (int32_t seq = 0; seq < kBatch; ++seq) {
    add_own_pages(own.pages, seq);
    full.pages.insert(full.pages.end(), prefix.pages.begin(), prefix.pages.end());
    add_own_pages(full.pages, seq);
  }

  attnrt::Context context;
  State of_prefix, of_own, of_full, merged;
  Status status = attend_to(context, prefix, kv, q, of_prefix);
  if (status.ok()) status = attend_to(context, own, kv, q, of_own);
  if (status.ok()) {
    const attnrt::StateView states[] = {{rows(of_prefix.out), of_prefix.lse.data()},
                                        {rows(of_own.out), of_own.lse.data()}};
    status = merge_states(context, states, rows(merged.out), {.data = merged.lse.data()});
  }
  if (status.ok()) status = attend_to(context, full, kv, q, of_full);
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", to_string(status.code()), status.message().c_str());
    return 1;
  }

  float worst = 0.0f;
  bool close = true;
  for (size_t i = 0; i < merged.out.size(); ++i) {
    const float difference = std::fabs(merged.out[i] - of_full.out[i]);
    close = close && difference < 1e-5f;  // NaN is not close
    worst = std::max(worst, difference);
  }
  std::printf("shared prefix and separate sequences differ by at most %g\n",
              static_cast<double>(worst));
  return close ? 0 : 1;
}
