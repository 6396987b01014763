// SPDX-License-Identifier: Apache-2.0
// A decode step of 16 continuations of one prompt of 4,096 tokens, three ways: each sequence alone;
// as a cascade, in which the prompt's keys are read once, as if the 16 queries were rows of one
// sequence, and merge_states joins in what each sequence has of its own; and as one packed sequence
// whose mask says which rows see which keys. All three are equal within rounding.
#include <algorithm>
#include <attnrt/attnrt.hpp>
#include <chrono>
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

constexpr int32_t kHeadsQ = 16;
constexpr int32_t kHeadsKv = 4;
constexpr int32_t kHeadDim = 128;
constexpr int32_t kPageSize = 16;
constexpr int32_t kBatch = 16;
constexpr int32_t kPrefixPages = 256;
constexpr int32_t kOwnPages = 4;
constexpr int32_t kOwnKeys = 50;  // of the 64 that fit
constexpr int32_t kPages = kPrefixPages + kBatch * kOwnPages;

struct State {
  std::vector<float> out = std::vector<float>(size_t{kBatch} * kHeadsQ * kHeadDim);
  std::vector<float> lse = std::vector<float>(size_t{kBatch} * kHeadsQ);
};

attnrt::TensorView rows(std::vector<float>& values) {
  return attnrt::dense_tensor(values.data(), DType::kF32, kBatch, kHeadsQ, kHeadDim);
}

// A plan and who attends to which pages: cu_seqlens_q deals the query rows out to the sequences.
struct Step {
  std::vector<int32_t> cu_seqlens_q, seqused_k, pages;
  int32_t max_pages = 0;
  std::vector<int32_t> owner;  // the table of a mask: attend reads it, too
  attnrt::Plan plan;
};

// Not causal: every row stands behind the keys that it is given.
Status plan_step(Step& step, const expr::MaskProgram& mask = {},
                 std::span<const expr::SlotValue> mask_values = {}) {
  attnrt::AttentionSpec spec;
  spec.num_heads_q = kHeadsQ;
  spec.num_heads_kv = kHeadsKv;
  spec.head_dim = kHeadDim;
  spec.arithmetic = attnrt::Arithmetic::kFloat32;  // so that 1e-5 can be asked for
  spec.mask = mask;
  attnrt::SequenceBatch batch;
  batch.cu_seqlens_q = step.cu_seqlens_q;
  batch.seqused_k = step.seqused_k;
  batch.block_table = attnrt::BlockTable::dense(step.pages, step.max_pages, kPageSize);
  batch.mask_values = mask_values;
  return make_plan(spec, batch, step.plan);
}

// One query row for each of the sequences; those with the prefix list its pages again.
Status plan_sequences(bool with_prefix, Step& step) {
  const int32_t prefix_pages = with_prefix ? kPrefixPages : 0;
  step.cu_seqlens_q = {0};
  step.seqused_k.assign(kBatch, prefix_pages * kPageSize + kOwnKeys);
  step.max_pages = prefix_pages + kOwnPages;
  for (int32_t seq = 0; seq < kBatch; ++seq) {
    step.cu_seqlens_q.push_back(seq + 1);
    for (int32_t i = 0; i < prefix_pages; ++i) step.pages.push_back(i);
    for (int32_t i = 0; i < kOwnPages; ++i) {
      step.pages.push_back(kPrefixPages + seq * kOwnPages + i);
    }
  }
  return plan_step(step);
}

// One sequence of the first `pages` pages, with all query rows.
void one_sequence(int32_t pages, Step& step) {
  step.cu_seqlens_q = {0, kBatch};
  step.seqused_k = {pages * kPageSize};
  step.max_pages = pages;
  for (int32_t page = 0; page < pages; ++page) step.pages.push_back(page);
}

Status plan_prefix(Step& step) {
  one_sequence(kPrefixPages, step);
  return plan_step(step);
}

// One sequence of all pages; the table says which row sees a key.
Status plan_packed(Step& step) {
  using expr::kv, expr::kv_len, expr::q, expr::q_len;
  constexpr int32_t kOfAll = -1, kUnused = -2;
  one_sequence(kPages, step);
  step.owner.assign(size_t{kPages} * kPageSize, kOfAll);
  for (int32_t i = 0; i < kBatch * kOwnPages * kPageSize; ++i) {
    const bool used = i % (kOwnPages * kPageSize) < kOwnKeys;
    step.owner[size_t{kPrefixPages} * kPageSize + static_cast<size_t>(i)] =
        used ? i / (kOwnPages * kPageSize) : kUnused;
  }
  const expr::Buffer owner = expr::buffer("owner", expr::ElementType::kI32, 1);
  const expr::Expr row = q() - (kv_len() - q_len());
  expr::MaskProgram mask;
  if (Status s = compile_mask(owner[kv()] == kOfAll || owner[kv()] == row, mask); !s.ok()) return s;
  const expr::SlotValue values[] = {
      buffer_value("owner", expr::ElementType::kI32, step.owner.data(), {kPages * kPageSize})};
  return plan_step(step, mask, values);
}

// One layer's cache and queries.
struct Layer {
  std::vector<uint16_t> k, v;
  std::vector<float> q;
};

Layer make_layer() {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  Layer layer;
  layer.k.resize(size_t{kPages} * kPageSize * kHeadsKv * kHeadDim);
  layer.v.resize(layer.k.size());
  layer.q.resize(size_t{kBatch} * kHeadsQ * kHeadDim);
  for (auto* values : {&layer.k, &layer.v}) {
    for (uint16_t& value : *values) value = attnrt::f32_to_bf16(normal(random));
  }
  for (float& value : layer.q) value = normal(random);
  return layer;
}

Status run(attnrt::Context& context, const Step& step, Layer& layer, State& state) {
  attnrt::AttendArgs args;
  args.q = rows(layer.q);
  args.kv = attnrt::KvView::paged(layer.k.data(), layer.v.data(), DType::kBF16,
                                  attnrt::KvLayout::kNHD, kPages, kPageSize, kHeadsKv, kHeadDim);
  args.out = rows(state.out);
  args.lse.data = state.lse.data();
  return attend(context, step.plan, args);
}

Status run_cascade(attnrt::Context& context, const Step& prefix, const Step& own, Layer& layer,
                   State& merged) {
  State of_prefix, of_own;
  if (Status s = run(context, prefix, layer, of_prefix); !s.ok()) return s;
  if (Status s = run(context, own, layer, of_own); !s.ok()) return s;
  const attnrt::StateView states[] = {{rows(of_prefix.out), of_prefix.lse.data()},
                                      {rows(of_own.out), of_own.lse.data()}};
  return merge_states(context, states, rows(merged.out), {.data = merged.lse.data()});
}

// Whether out and lse are equal within rounding.
bool close(const char* name, const State& state, const State& expected) {
  float worst = 0.0f;
  const auto compare = [&](const std::vector<float>& x, const std::vector<float>& y) {
    for (size_t i = 0; i < x.size(); ++i) {
      const float difference = std::fabs(x[i] - y[i]);
      if (difference > worst || std::isnan(difference)) worst = difference;
    }
  };
  compare(state.out, expected.out);
  compare(state.lse, expected.lse);
  std::printf("%s and separate sequences differ by at most %g\n", name, static_cast<double>(worst));
  return worst < 1e-5f;
}

double median(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0.0 : values[values.size() / 2];
}

}  // namespace

int main() {
  Layer layer = make_layer();
  Step alone, prefix, own, packed;
  Status status = plan_sequences(true, alone);
  if (status.ok()) status = plan_prefix(prefix);
  if (status.ok()) status = plan_sequences(false, own);
  if (status.ok()) status = plan_packed(packed);

  attnrt::Context context;
  State of_alone, of_cascade, of_packed;
  std::vector<double> ms[3];
  const auto timed = [&](size_t way, const auto& call) {
    const auto begin = std::chrono::steady_clock::now();
    if (status.ok()) status = call();
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
    ms[way].push_back(time.count());
  };
  for (int32_t i = 0; i < 11 && status.ok(); ++i) {
    timed(0, [&] { return run(context, alone, layer, of_alone); });
    timed(1, [&] { return run_cascade(context, prefix, own, layer, of_cascade); });
    timed(2, [&] { return run(context, packed, layer, of_packed); });
  }
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", to_string(status.code()), status.message().c_str());
    return 1;
  }

  const double alone_ms = median(ms[0]), cascade_ms = median(ms[1]), packed_ms = median(ms[2]);
  std::printf(
      "%d continuations of %d tokens: alone %.2f ms, cascade %.2f ms (%.1f times faster), "
      "packed %.2f ms (%.1f times)\n",
      kBatch, kPrefixPages * kPageSize, alone_ms, cascade_ms, alone_ms / cascade_ms, packed_ms,
      alone_ms / packed_ms);
  const bool cascade_close = close("cascade", of_cascade, of_alone);
  return close("packed sequence", of_packed, of_alone) && cascade_close ? 0 : 1;
}
