// SPDX-License-Identifier: Apache-2.0
// For those who come from FlashAttention: one call appends the new key and value in place, rotates
// q and K, and attends, with the names of flash_attn_with_kvcache. Decodes token by token, then
// checks the last token against one call over all of them.
#include <algorithm>
#include <attnrt/attnrt.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

namespace {

using attnrt::DType;

constexpr int32_t kBatch = 2;
constexpr int32_t kHeadsQ = 8;
constexpr int32_t kHeadsKv = 2;
constexpr int32_t kHeadDim = 64;
constexpr int32_t kRotaryDim = 32;
constexpr int32_t kMaxTokens = 48;

// Tensors of (batch, tokens, heads, dim), f32.
struct Inputs {
  std::vector<float> q, k, v;
};

struct Rotary {
  std::vector<float> cos, sin;  // (kMaxTokens, kRotaryDim / 2)
};

Inputs random_inputs(std::mt19937& random, int32_t tokens) {
  std::normal_distribution<float> normal;
  const size_t each = size_t{kBatch} * static_cast<size_t>(tokens) * kHeadDim;
  Inputs inputs{std::vector<float>(each * kHeadsQ), std::vector<float>(each * kHeadsKv),
                std::vector<float>(each * kHeadsKv)};
  for (auto* values : {&inputs.q, &inputs.k, &inputs.v}) {
    for (float& value : *values) value = normal(random);
  }
  return inputs;
}

Rotary make_rotary() {
  Rotary rotary;
  for (int32_t position = 0; position < kMaxTokens; ++position) {
    for (int32_t i = 0; i < kRotaryDim; i += 2) {
      const float frequency = std::pow(10000.0f, -static_cast<float>(i) / kRotaryDim);
      rotary.cos.push_back(std::cos(static_cast<float>(position) * frequency));
      rotary.sin.push_back(std::sin(static_cast<float>(position) * frequency));
    }
  }
  return rotary;
}

// Copies token `token` of every sequence out of (batch, kMaxTokens, heads, dim).
std::vector<float> take_token(const std::vector<float>& all, int32_t heads, int32_t token) {
  const auto row = static_cast<std::ptrdiff_t>(heads) * kHeadDim;
  std::vector<float> one;
  for (int32_t seq = 0; seq < kBatch; ++seq) {
    const auto begin = all.begin() + (std::ptrdiff_t{seq} * kMaxTokens + token) * row;
    one.insert(one.end(), begin, begin + row);
  }
  return one;
}

// The cache is (batch, seqlen_cache, heads, dim), without a block table: one page per sequence.
struct Cache {
  std::vector<float> k, v;
  Cache() : k(size_t{kBatch} * kMaxTokens * kHeadsKv * kHeadDim), v(k.size()) {}
};

attnrt::Status call(attnrt::Context& context, Cache& cache, const Rotary& rotary,
                    const Inputs& inputs, const std::vector<int32_t>& cache_seqlens,
                    std::vector<float>& out) {
  const auto rows_q = static_cast<int64_t>(inputs.q.size()) / (kHeadsQ * kHeadDim);
  attnrt::FlashAttnKvCacheArgs args;
  args.q = attnrt::dense_tensor(inputs.q.data(), DType::kF32, rows_q, kHeadsQ, kHeadDim);
  args.k = attnrt::dense_tensor(inputs.k.data(), DType::kF32, rows_q, kHeadsKv, kHeadDim);
  args.v = attnrt::dense_tensor(inputs.v.data(), DType::kF32, rows_q, kHeadsKv, kHeadDim);
  args.kv_cache =
      attnrt::KvView::paged(cache.k.data(), cache.v.data(), DType::kF32, attnrt::KvLayout::kNHD,
                            kBatch, kMaxTokens, kHeadsKv, kHeadDim);
  out.resize(inputs.q.size());
  args.out = attnrt::dense_tensor(out.data(), DType::kF32, rows_q, kHeadsQ, kHeadDim);
  args.batch_size = kBatch;
  args.cache_seqlens = cache_seqlens;
  args.rotary_cos = rotary.cos.data();
  args.rotary_sin = rotary.sin.data();
  args.rotary_seqlen = kMaxTokens;
  args.rotary_dim = kRotaryDim;
  args.causal = true;
  return flash_attn_with_kvcache(context, args);
}

}  // namespace

int main() {
  std::mt19937 random(2);
  const Inputs all = random_inputs(random, kMaxTokens);
  const Rotary rotary = make_rotary();
  attnrt::Context context;

  Cache cache;
  std::vector<float> last;
  attnrt::Status status;
  for (int32_t token = 0; token < kMaxTokens && status.ok(); ++token) {
    const Inputs one{take_token(all.q, kHeadsQ, token), take_token(all.k, kHeadsKv, token),
                     take_token(all.v, kHeadsKv, token)};
    status = call(context, cache, rotary, one, std::vector<int32_t>(kBatch, token), last);
  }

  Cache fresh;
  std::vector<float> whole;
  if (status.ok()) {
    status = call(context, fresh, rotary, all, std::vector<int32_t>(kBatch, 0), whole);
  }
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", to_string(status.code()), status.message().c_str());
    return 1;
  }

  const std::vector<float> expected = take_token(whole, kHeadsQ, kMaxTokens - 1);
  float worst = 0.0f;
  bool close = true;
  for (size_t i = 0; i < last.size(); ++i) {
    const float difference = std::fabs(last[i] - expected[i]);
    close = close && difference < 1e-5f;  // NaN is not close
    worst = std::max(worst, difference);
  }
  std::printf("%d tokens one by one and at once differ by at most %g\n", kMaxTokens,
              static_cast<double>(worst));
  return close ? 0 : 1;
}
