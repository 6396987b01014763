// SPDX-License-Identifier: Apache-2.0
// The masks and scores that users write, as text and as plain C++, over one small set of tables.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "attnrt/expr.hpp"
#include "src/expr/evaluate.hpp"

namespace attnrt::expr::catalogue {

inline constexpr int64_t kTokens = 48;
inline constexpr int64_t kHeads = 4;
inline constexpr int64_t kBatch = 2;
inline constexpr int64_t kLastDoc = 3;

/// Tables whose names are those in the texts.
struct Tables {
  std::array<int32_t, kTokens> doc{};      // ascending document ids
  std::array<int32_t, kTokens> evict{};    // first row that no longer sees the key
  std::array<int32_t, kTokens> perm{};     // a permutation
  std::array<int32_t, kTokens> segment{};  // answers of a shared question; 0 is the question
  std::array<int32_t, kTokens> lts{}, lte{}, uts{}, ute{};
  std::array<int32_t, 4> row_start{};  // of each document
  std::array<int32_t, kBatch> prefix{};
  std::array<int32_t, kBatch> chosen{}, rejected{};
  std::array<int32_t, kTokens> tin{}, tout{};  // Euler intervals of a tree
  std::array<uint8_t, kTokens> global{};
  std::array<uint8_t, kTokens * kTokens> ancestor{};
  std::array<int8_t, kTokens> cluster{};
  std::array<float, kTokens> phi{}, forget{};
  std::array<float, kHeads> slopes{};
  std::array<float, kHeads * 2 * kTokens> relative{};
  std::array<float, kBatch * kHeads * kTokens * kTokens> bias{};
  std::array<float, kTokens * 8> rows{}, columns{};
  std::array<float, kTokens * 3> rope_q{}, rope_k{};

  Tables();
  [[nodiscard]] std::vector<SlotValue> values() const;
};

inline Tables::Tables() {
  auto noise = [state = uint32_t{7}]() mutable {
    state = state * 1664525u + 1013904223u;
    return static_cast<float>(state >> 8) / static_cast<float>(1 << 24) - 0.5f;
  };
  for (size_t i = 0; i < doc.size(); ++i) {
    const int32_t p = static_cast<int32_t>(i);
    doc[i] = p < 10 ? 0 : p < 17 ? 1 : p < 40 ? 2 : 3;
    evict[i] = p + 1 + (p * 7) % 13;
    perm[i] = (p * 29 + 5) % static_cast<int32_t>(kTokens);
    segment[i] = p < 12 ? 0 : 1 + (p - 12) / 9;
    lts[i] = p + (p * 5) % 11;
    lte[i] = lts[i] + (p * 3) % 7;
    uts[i] = std::max(0, p - 9);
    ute[i] = uts[i] + (p * 11) % 5;
    tin[i] = p;
    tout[i] = p + 1 + (p % 4 == 0 ? 6 : p % 2);
    global[i] = p % 17 == 3 ? 1 : 0;
    cluster[i] = static_cast<int8_t>((p * p) % 5 - 2);
    phi[i] = static_cast<float>((p * 37) % 63) * 0.1f - 3.1f;
    forget[i] = -0.05f * static_cast<float>(p);
  }
  row_start = {0, 10, 17, 40};
  prefix = {5, 20};
  chosen = {11, 8};
  rejected = {25, 30};
  for (size_t i = 0; i < ancestor.size(); ++i) ancestor[i] = noise() > 0.1f ? 2 : 0;
  for (size_t i = 0; i < slopes.size(); ++i) slopes[i] = std::exp2(-2.0f * static_cast<float>(i));
  for (float& x : relative) x = noise();
  for (float& x : bias) x = noise();
  for (float& x : rows) x = noise();
  for (float& x : columns) x = noise();
  for (float& x : rope_q) x = noise();
  for (float& x : rope_k) x = noise();
}

inline std::vector<SlotValue> Tables::values() const {
  using enum ElementType;
  const auto ints = [](const char* name, const auto& data) {
    return buffer_value(name, kI32, data.data(), {static_cast<int64_t>(data.size())});
  };
  return {
      ints("doc", doc),
      ints("evict", evict),
      ints("perm", perm),
      ints("segment", segment),
      ints("lts", lts),
      ints("lte", lte),
      ints("uts", uts),
      ints("ute", ute),
      ints("row_start", row_start),
      ints("prefix", prefix),
      ints("chosen", chosen),
      ints("rejected", rejected),
      ints("tin", tin),
      ints("tout", tout),
      buffer_value("global", kBool, global.data(), {kTokens}),
      buffer_value("ancestor", kBool, ancestor.data(), {kTokens, kTokens}),
      buffer_value("cluster", kI8, cluster.data(), {kTokens}),
      buffer_value("phi", kF32, phi.data(), {kTokens}),
      buffer_value("forget", kF32, forget.data(), {kTokens}),
      buffer_value("slopes", kF32, slopes.data(), {kHeads}),
      buffer_value("relative", kF32, relative.data(), {kHeads, 2 * kTokens}),
      buffer_value("bias", kF32, bias.data(), {kBatch, kHeads, kTokens, kTokens}),
      buffer_value("rows", kF32, rows.data(), {kTokens, 8}),
      buffer_value("columns", kF32, columns.data(), {kTokens, 8}),
      buffer_value("rope_q", kF32, rope_q.data(), {kTokens, 3}),
      buffer_value("rope_k", kF32, rope_k.data(), {kTokens, 3}),
      int_value("window", 9),
      int_value("width", 8),
      float_value("cap", 2.5f),
      float_value("temperature", 0.7f),
  };
}

struct MaskCase {
  const char* name;
  const char* text;
  bool (*definition)(const Tables&, const Point&);
};

struct ScoreCase {
  const char* name;
  const char* text;
  double (*definition)(const Tables&, const Point&);
};

}  // namespace attnrt::expr::catalogue
