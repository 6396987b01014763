// SPDX-License-Identifier: Apache-2.0
// Expressions that are printed as source of kernels, compiled with the tests, and run.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/backends/cuda/cuda_shapes.hpp"
#include "tests/src/expr/catalogue_masks.hpp"
#include "tests/src/expr/catalogue_scores.hpp"
#include "tests/src/expr/random_expression.hpp"
#include "tests/support/mask_catalogue.hpp"

namespace attnrt::test {

inline constexpr int32_t kGeneratedTokens = 256;
inline constexpr uint32_t kGeneratedSeed = 23;
inline constexpr int kGeneratedRandom = 120;

/// One for each operation, on q, kv, the tables of expr::catalogue and the score.
inline constexpr const char* kOperationScores[] = {
    "score + to_float(q + kv * 3)",
    "score - to_float(abs(q - kv - 2) - b)",
    "score + to_float(min(q, kv) - max(-kv, h))",
    "to_float(floordiv(q - kv, 3)) - score",
    "to_float(floordiv(kv - 9, q - 20))",
    "to_float(floormod(q - kv, 5)) * score",
    "to_float(floormod(kv - 9, q - 20))",
    "to_float((q & kv) + (q | 5) - (kv ^ 9))",
    "to_float((q << (kv - 2)) + ((q - 20) >> (kv - 2)))",
    "to_float(kv << 20) + to_float(-(kv >> 1))",
    "select(q < kv, score, 1.5) + select(q <= kv, 0.25, score)",
    "select(q == kv, score, -score) + select(q != kv, 1.0, abs(score))",
    "select(score < 0.5, score, 2.0) - select(score <= -0.5, score, 3.0)",
    "select(score == 0.5, 4.0, score) + select(score != 0.5, score, 5.0)",
    "select((q < 9 && kv > 3) || score > 0.0, score, 0.0)",
    "select((q < 9) ^ !(kv > 3), score, 7.0)",
    "select(select(q < 9, kv > 3, score > 0.0), score, -1.0)",
    "to_float(select(kv > q, q, kv)) + score",
    "f32 phi[]; score * phi[q] + phi[kv]",
    "f32 phi[]; score / phi[kv] - phi[q - kv]",
    "f32 phi[]; min(score, phi[kv]) + max(score, phi[q])",
    "f32 phi[]; fma(score, phi[kv], phi[q])",
    "f32 phi[]; score - phi[q] * phi[kv]",
    "f32 relative[,]; score + relative[h, kv - q + 40] + relative[h, 3 - kv]",
    "i8 cluster[]; score + cluster[kv] * cluster[q]",
    "i32 perm[]; f32 phi[]; score + phi[perm[kv] * 2 - perm[q]]",
    "bool ancestor[,]; select(ancestor[q, kv], score, 0.5)",
    "float cap; int window; score * cap + window * (kv - q)",
    "score + to_float(hkv * 100 + q_len * 10 - kv_len)",
    "inf * score + nan",
    "exp(score) + exp2(score)",
    "log(abs(score)) + log1p(abs(score))",
    "tanh(score) + sigmoid(score) + erf(score)",
    "sqrt(abs(score)) + rsqrt(abs(score) + 1.0)",
    "sin(score) * cos(score)",
    "pow(abs(score), 1.5)",
    "to_float(q * 1000000 * kv * 1000000)",
    "f32 rope_q[,]; f32 rope_k[,]; score - 2.0 * dot(rope_q, rope_k)",
};

inline expr::Expr parsed(const std::string& text) {
  expr::Expr made;
  static_cast<void>(expr::parse(text, made));  // an empty expression does not compile: that is seen
  return made;
}

/// A mask and a score at once.
inline std::vector<std::pair<expr::Expr, expr::Expr>> generated_pairs() {
  std::vector<std::pair<expr::Expr, expr::Expr>> made = {
      {parsed("i32 doc[]; doc[q] == doc[kv] && kv <= q"),
       parsed("f32 slopes[]; score - slopes[h] * abs(q - kv)")},
      {parsed("kv % 3 != h % 3 || kv == q"), parsed("float cap; cap * tanh(score / cap)")}};
  for (const char* mask : kDeviceMasks) {
    for (const char* score : kDeviceScores) made.emplace_back(parsed(mask), parsed(score));
  }
  return made;
}

inline std::vector<expr::Expr> generated_masks() {
  std::vector<expr::Expr> made;
  for (const auto& mask : testing::mask_catalogue(kGeneratedTokens)) {
    made.push_back(parsed(mask.text));
  }
  for (const auto& mask : expr::catalogue::kMasks) made.push_back(parsed(mask.text));
  for (const auto& pair : generated_pairs()) made.push_back(pair.first);
  return made;
}

inline std::vector<expr::Expr> generated_scores() {
  std::vector<expr::Expr> made;
  for (const auto& score : expr::catalogue::kScores) made.push_back(parsed(score.text));
  for (const char* text : kOperationScores) made.push_back(parsed(text));
  for (const char* text : kDeviceScores) made.push_back(parsed(text));
  return made;
}

inline std::vector<expr::Expr> random_masks() {
  std::vector<expr::Expr> made;
  expr::RandomExpressions random(kGeneratedSeed);
  for (int i = 0; i < kGeneratedRandom; ++i) made.push_back(random.mask(3 + i % 3));
  return made;
}

inline std::vector<expr::Expr> random_scores() {
  std::vector<expr::Expr> made;
  expr::RandomExpressions random(kGeneratedSeed + 1);
  for (int i = 0; i < kGeneratedRandom; ++i) made.push_back(random.score(3 + i % 3));
  return made;
}

}  // namespace attnrt::test
