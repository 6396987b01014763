// SPDX-License-Identifier: Apache-2.0
// The scores of the catalogue, in double precision.
#pragma once

#include "tests/src/expr/catalogue.hpp"

namespace attnrt::expr::catalogue {

inline double element(const auto& table, int64_t i) {
  return static_cast<double>(table[static_cast<size_t>(i)]);
}

inline double distance(const Point& p) { return static_cast<double>(p.kv - p.q); }

inline constexpr ScoreCase kScores[] = {
    {"raw", "score", [](const Tables&, const Point& p) { return p.score; }},
    {"twice", "2.0 * score", [](const Tables&, const Point& p) { return 2.0 * p.score; }},
    {"square", "score * score", [](const Tables&, const Point& p) { return p.score * p.score; }},
    {"sine of cosine", "sin(cos(score))",
     [](const Tables&, const Point& p) { return std::sin(std::cos(p.score)); }},
    {"silu", "score * sigmoid(score)",
     [](const Tables&, const Point& p) { return p.score / (1.0 + std::exp(-p.score)); }},
    {"relative", "score + (q - kv)",
     [](const Tables&, const Point& p) { return p.score - distance(p); }},
    {"ALiBi", "score + exp2(-8.0 * (h + 1) / 4.0) * (kv - q)",
     [](const Tables&, const Point& p) {
       return p.score + std::exp2(-2.0 * static_cast<double>(p.h + 1)) * distance(p);
     }},
    {"ALiBi by table", "f32 slopes[]; score - slopes[h] * abs(q - kv)",
     [](const Tables& t, const Point& p) {
       return p.score - element(t.slopes, p.h) * std::fabs(distance(p));
     }},
    {"KERPLE", "score - 0.5 * log1p(0.25 * abs(q - kv))",
     [](const Tables&, const Point& p) {
       return p.score - 0.5 * std::log1p(0.25 * std::fabs(distance(p)));
     }},
    {"relative table", "f32 relative[,]; score + relative[h, q - kv + 48]",
     [](const Tables& t, const Point& p) {
       return p.score + element(t.relative, p.h * 2 * kTokens + p.q - p.kv + kTokens);
     }},
    {"dense bias", "f32 bias[,,,]; score + bias[b, h, q, kv]",
     [](const Tables& t, const Point& p) {
       return p.score + element(t.bias, ((p.b * kHeads + p.h) * kTokens + p.q) * kTokens + p.kv);
     }},
    {"decomposed relative position",
     "f32 rows[,]; f32 columns[,]; score + rows[q, kv // 8] + columns[q, kv % 8]",
     [](const Tables& t, const Point& p) {
       return p.score + element(t.rows, p.q * 8 + p.kv / 8) +
              element(t.columns, p.q * 8 + p.kv % 8);
     }},
    {"softcap", "float cap; cap * tanh(score / cap)",
     [](const Tables&, const Point& p) { return 2.5 * std::tanh(p.score / 2.5); }},
    {"softcap and ALiBi",
     "float cap; f32 slopes[]; then(cap * tanh(score / cap), score + slopes[h] * (kv - q))",
     [](const Tables& t, const Point& p) {
       return 2.5 * std::tanh(p.score / 2.5) + element(t.slopes, p.h) * distance(p);
     }},
    {"length scaling", "score * (0.1 * log(floordiv(q + 1, 8) + 1) + 1)",
     [](const Tables&, const Point& p) {
       return p.score * (0.1 * std::log(static_cast<double>((p.q + 1) / 8 + 1)) + 1.0);
     }},
    {"forgetting", "f32 forget[]; score + forget[q] - forget[kv]",
     [](const Tables& t, const Point& p) {
       return p.score + element(t.forget, p.q) - element(t.forget, p.kv);
     }},
    {"temperature", "float temperature; score * pow(temperature, 2.0) / sqrt(q_len)",
     [](const Tables&, const Point& p) {
       return p.score * 0.49 / std::sqrt(static_cast<double>(p.q_len));
     }},
    {"rotary part", "f32 rope_q[,]; f32 rope_k[,]; score + 0.5 * dot(rope_q, rope_k)",
     [](const Tables& t, const Point& p) {
       double sum = 0.0;
       for (int64_t d = 0; d < 3; ++d) {
         sum += element(t.rope_q, p.q * 3 + d) * element(t.rope_k, p.kv * 3 + d);
       }
       return p.score + 0.5 * sum;
     }},
    {"buckets",
     "let d = max(q - kv, 0);"
     "score + select(d < 8, to_float(d), min(8 + log(max(d, 1) / 8.0) * 4.0, 15.0))",
     [](const Tables&, const Point& p) {
       const double d = std::max(-distance(p), 0.0);
       return p.score + (d < 8.0 ? d : std::min(8.0 + std::log(d / 8.0) * 4.0, 15.0));
     }},
    {"gaussian", "fma(-0.01, (q - kv) * (q - kv), score) + erf(score) - rsqrt(kv + 1)",
     [](const Tables&, const Point& p) {
       return p.score - 0.01 * distance(p) * distance(p) + std::erf(p.score) -
              1.0 / std::sqrt(static_cast<double>(p.kv + 1));
     }},
};

inline std::span<const ScoreCase> scores() { return kScores; }

}  // namespace attnrt::expr::catalogue
