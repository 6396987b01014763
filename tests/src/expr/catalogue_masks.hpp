// SPDX-License-Identifier: Apache-2.0
// The masks of the catalogue. `true` means that the row sees the key.
#pragma once

#include "tests/src/expr/catalogue.hpp"

namespace attnrt::expr::catalogue {

using T = const Tables&;
using P = const Point&;

inline int64_t at(const auto& table, int64_t i) {
  const auto last = static_cast<int64_t>(table.size()) - 1;
  return table[static_cast<size_t>(std::clamp<int64_t>(i, 0, last))];
}

inline constexpr auto kCausal = [](P p) { return p.kv <= p.q; };

inline constexpr MaskCase kMasks[] = {
    {"none", "true", [](T, P) { return true; }},
    {"causal", "kv <= q", [](T, P p) { return kCausal(p); }},
    {"inverse causal", "kv >= q", [](T, P p) { return p.kv >= p.q; }},
    {"bottom right", "kv <= q + (kv_len - q_len)",
     [](T, P p) { return p.kv <= p.q + p.kv_len - p.q_len; }},
    {"sliding window", "kv <= q && q - kv < window",
     [](T, P p) { return kCausal(p) && p.q - p.kv < 9; }},
    {"symmetric window", "abs(q - kv) <= window", [](T, P p) { return std::abs(p.q - p.kv) <= 9; }},
    {"left and right window", "q - kv <= 7 && kv - q <= 3",
     [](T, P p) { return p.q - p.kv <= 7 && p.kv - p.q <= 3; }},
    {"chunked", "kv <= q && q // 16 == kv // 16",
     [](T, P p) { return kCausal(p) && p.q / 16 == p.kv / 16; }},
    {"dilated", "let d = abs(q - kv); d <= 12 && d % 3 == 0",
     [](T, P p) { return std::abs(p.q - p.kv) <= 12 && (p.q - p.kv) % 3 == 0; }},
    {"strided", "kv <= q && (q - kv < 5 || (q - kv) % 5 == 0)",
     [](T, P p) { return kCausal(p) && (p.q - p.kv < 5 || (p.q - p.kv) % 5 == 0); }},
    {"fixed sparse", "kv <= q && (q // 8 == kv // 8 || kv % 8 >= 6)",
     [](T, P p) { return kCausal(p) && (p.q / 8 == p.kv / 8 || p.kv % 8 >= 6); }},
    {"padding", "kv < prefix[b]", [](T t, P p) { return p.kv < at(t.prefix, p.b); }},
    {"left padding", "kv >= prefix[b]", [](T t, P p) { return p.kv >= at(t.prefix, p.b); }},
    {"empty rows", "kv <= q && q % 2 == 1", [](T, P p) { return kCausal(p) && p.q % 2 == 1; }},
    {"contradiction", "q >= kv && q < kv", [](T, P) { return false; }},
    {"tautology", "q >= kv || q < kv", [](T, P) { return true; }},
    {"prefix LM", "kv < window || kv <= q", [](T, P p) { return p.kv < 9 || kCausal(p); }},
    {"prefix per sequence", "q <= prefix[b] && kv <= prefix[b] || kv <= q",
     [](T t, P p) {
       const int64_t n = at(t.prefix, p.b);
       return (p.q <= n && p.kv <= n) || kCausal(p);
     }},
    {"document", "sorted i32 doc[]; doc[q] == doc[kv]",
     [](T t, P p) { return at(t.doc, p.q) == at(t.doc, p.kv); }},
    {"causal document", "doc[q] == doc[kv] && kv <= q",
     [](T t, P p) { return at(t.doc, p.q) == at(t.doc, p.kv) && kCausal(p); }},
    {"row start", "kv >= row_start[doc[q]] && kv <= q",
     [](T t, P p) { return p.kv >= at(t.row_start, at(t.doc, p.q)) && kCausal(p); }},
    {"batchify", "q // width == kv // width && kv % width <= q % width",
     [](T, P p) { return p.q / 8 == p.kv / 8 && p.kv % 8 <= p.q % 8; }},
    {"flip per sequence", "kv <= q && b % 2 == 0",
     [](T, P p) { return kCausal(p) && p.b % 2 == 0; }},
    {"preference pair", "!(q >= rejected[b] && chosen[b] <= kv && kv < rejected[b]) && kv <= q",
     [](T t, P p) {
       const int64_t r = at(t.rejected, p.b);
       return !(p.q >= r && at(t.chosen, p.b) <= p.kv && p.kv < r) && kCausal(p);
     }},
    {"share question", "kv <= q && (segment[kv] == 0 || segment[q] == segment[kv])",
     [](T t, P p) {
       const int64_t of_key = at(t.segment, p.kv);
       return kCausal(p) && (of_key == 0 || of_key == at(t.segment, p.q));
     }},
    {"Longformer", "bool global[]; abs(q - kv) <= 4 || global[q] || global[kv]",
     [](T t, P p) {
       return std::abs(p.q - p.kv) <= 4 || at(t.global, p.q) != 0 || at(t.global, p.kv) != 0;
     }},
    {"streaming", "kv <= q && (kv < 4 || q - kv < window)",
     [](T, P p) { return kCausal(p) && (p.kv < 4 || p.q - p.kv < 9); }},
    {"causal blockwise", "kv <= q && (doc[q] == doc[kv] || doc[q] == 3)",
     [](T t, P p) {
       const int64_t d = at(t.doc, p.q);
       return kCausal(p) && (d == at(t.doc, p.kv) || d == kLastDoc);
     }},
    {"random eviction", "kv <= q && q < evict[kv]",
     [](T t, P p) { return kCausal(p) && p.q < at(t.evict, p.kv); }},
    {"four columns", "!(lts[kv] <= q && q < lte[kv]) && !(uts[kv] <= q && q < ute[kv])",
     [](T t, P p) {
       const bool lower = at(t.lts, p.kv) <= p.q && p.q < at(t.lte, p.kv);
       const bool upper = at(t.uts, p.kv) <= p.q && p.q < at(t.ute, p.kv);
       return !lower && !upper;
     }},
    {"permuted causal", "perm[q] >= perm[kv]",
     [](T t, P p) { return at(t.perm, p.q) >= at(t.perm, p.kv); }},
    {"neighbourhood 2-D",
     "let x = clamp(q // width, 1, 4); let y = clamp(q % width, 1, 6);"
     "abs(x - kv // width) <= 1 && abs(y - kv % width) <= 1",
     [](T, P p) {
       const int64_t x = std::clamp<int64_t>(p.q / 8, 1, 4);
       const int64_t y = std::clamp<int64_t>(p.q % 8, 1, 6);
       return std::abs(x - p.kv / 8) <= 1 && std::abs(y - p.kv % 8) <= 1;
     }},
    {"Morton 2-D",
     "let qx = q & 1 | q >> 1 & 2 | q >> 2 & 4; let kx = kv & 1 | kv >> 1 & 2 | kv >> 2 & 4;"
     "abs(qx - kx) <= 1",
     [](T, P p) {
       const auto x = [](int64_t i) { return (i & 1) | ((i >> 1) & 2) | ((i >> 2) & 4); };
       return std::abs(x(p.q) - x(p.kv)) <= 1;
     }},
    {"block diffusion",
     "let n = 24; let qb = q % n // 4; let kb = kv % n // 4;"
     "qb == kb && (q >= n ^ kv < n) || qb > kb && kv >= n && q < n || qb >= kb && kv >= n && q >= "
     "n",
     [](T, P p) {
       const int64_t qb = p.q % 24 / 4;
       const int64_t kb = p.kv % 24 / 4;
       const bool clean_q = p.q >= 24;
       const bool clean_kv = p.kv >= 24;
       return (qb == kb && clean_q == clean_kv) || (qb > kb && clean_kv && !clean_q) ||
              (qb >= kb && clean_kv && clean_q);
     }},
    {"tree by matrix", "bool ancestor[,]; kv < 6 || ancestor[q, kv - 6]",
     [](T t, P p) {
       if (p.kv < 6) return true;
       return t.ancestor[static_cast<size_t>(p.q * kTokens + p.kv - 6)] != 0;
     }},
    {"tree by intervals", "kv < 6 || tin[kv - 6] <= tin[q] && tin[q] < tout[kv - 6]",
     [](T t, P p) {
       const int64_t row = at(t.tin, p.q);
       return p.kv < 6 || (at(t.tin, p.kv - 6) <= row && row < at(t.tout, p.kv - 6));
     }},
    {"cluster", "i8 cluster[]; cluster[q] == cluster[kv]",
     [](T t, P p) { return at(t.cluster, p.q) == at(t.cluster, p.kv); }},
    {"angle with wrap-around", "f32 phi[]; let d = abs(phi[q] - phi[kv]); d < 0.5 || d > 5.78",
     [](T t, P p) {
       const float d =
           std::fabs(t.phi[static_cast<size_t>(p.q)] - t.phi[static_cast<size_t>(p.kv)]);
       return d < 0.5f || d > 5.78f;
     }},
    {"per head window", "kv <= q && q - kv < select(h % 2 == 0, 4, 16) << hkv",
     [](T, P p) { return kCausal(p) && p.q - p.kv < (p.h % 2 == 0 ? 4 : 16) << p.hkv; }},
};

inline std::span<const MaskCase> masks() { return kMasks; }

}  // namespace attnrt::expr::catalogue
