// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "attnrt/mask_formats.hpp"
#include "src/expr/plan_runs.hpp"
#include "tests/support/prepared_mask.hpp"

namespace attnrt::testing {
namespace {

using expr::ImportedMask;
using expr::TileClass;

// Element (h, q, key), by the definition of the format.
using Definition = std::function<bool(int32_t, int32_t, int32_t)>;

// The expression is the definition, and its plan is sound and decides at least `decided` of the
// blocks that are empty or full.
void check_import(const ImportedMask& imported, const MaskShape& shape,
                  const Definition& definition, double decided = 0.0) {
  PreparedMask mask(imported.mask, imported.values, shape);
  std::vector<uint8_t> elements;
  bool same = true;
  for (int32_t i = 0; i < shape.q_len; ++i) {
    for (int32_t key = 0; key < shape.kv_len; ++key) {
      int heads = 0;
      for (int32_t h = 0; h < shape.num_heads; ++h) {
        const bool visible = definition(h, shape.q_begin + i, key);
        same &= visible == mask.visible(h, shape.q_begin + i, key);
        heads += visible ? 1 : 0;
      }
      elements.push_back(static_cast<uint8_t>(heads));
    }
  }
  CHECK(same);
  expr::TileClassifier classifier(mask.analysis());
  classifier.set_sequence(mask.scope());
  int64_t found = 0;
  int64_t truly = 0;
  for (int32_t i = 0; i < shape.q_len; i += 32) {
    const int32_t q_end = std::min(shape.q_len, i + 32);
    classifier.set_queries(shape.q_begin + i, shape.q_begin + q_end);
    for (int32_t key = 0; key < shape.kv_len; key += 32) {
      const int32_t key_end = std::min(shape.kv_len, key + 32);
      const TileClass truth = mask.class_of(elements, i, q_end, key, key_end);
      const TileClass kind = classifier.classify(key, key_end);
      CHECK((kind == truth || kind == TileClass::kPartial));
      truly += truth != TileClass::kPartial ? 1 : 0;
      found += truth != TileClass::kPartial && kind == truth ? 1 : 0;
    }
  }
  CHECK(static_cast<double>(found) >= decided * static_cast<double>(truly));
}

}  // namespace

TEST_CASE("a block mask is its lists, with the elements of partial blocks decided by a mask") {
  // Two heads, three rows of four columns; blocks of 64 x 32.
  const std::vector<int32_t> partial_count = {1, 2, 0, 1, 1, 1};
  const std::vector<int32_t> partial_index = {0, 9, 9, 9, 1, 3, 9, 9, 9, 9, 9, 9,
                                              2, 9, 9, 9, 0, 9, 9, 9, 3, 9, 9, 9};
  const std::vector<int32_t> full_count = {0, 1, 4, 1, 0, 2};
  const std::vector<int32_t> full_index = {9, 9, 9, 9, 0, 9, 9, 9, 3, 1, 0, 2,
                                           0, 9, 9, 9, 9, 9, 9, 9, 1, 0, 9, 9};
  const expr::BlockMaskShape shape{1, 2, 3, 4, 64, 32};
  ImportedMask imported;
  REQUIRE(expr::import_block_mask(shape, {partial_count.data(), partial_index.data(), 4},
                                  {full_count.data(), full_index.data(), 4},
                                  expr::kv() <= expr::q() && expr::q() % 3 != 0, imported)
              .ok());
  const auto in_list = [](const std::vector<int32_t>& count, const std::vector<int32_t>& index,
                          int32_t line, int32_t column) {
    const auto begin = index.begin() + line * 4;
    return std::find(begin, begin + count[static_cast<size_t>(line)], column) !=
           begin + count[static_cast<size_t>(line)];
  };
  check_import(
      imported, {0, 180, 125, 0, 2},
      [&](int32_t h, int32_t q, int32_t key) {
        const int32_t line = h * 3 + q / 64;
        if (in_list(full_count, full_index, line, key / 32)) return true;
        return in_list(partial_count, partial_index, line, key / 32) && key <= q && q % 3 != 0;
      },
      0.8);
  // Behind the last block nothing is visible.
  PreparedMask mask(imported.mask, imported.values, {0, 400, 400, 0, 2});
  CHECK(mask.visible(0, 190, 127));
  CHECK_FALSE(mask.visible(0, 192, 127));
  CHECK_FALSE(mask.visible(0, 190, 128));
  // No list of full blocks.
  REQUIRE(expr::import_block_mask(shape, {partial_count.data(), partial_index.data(), 4}, {}, true,
                                  imported)
              .ok());
}

TEST_CASE("what is wrong with block lists is said") {
  ImportedMask imported;
  imported.mask = true;
  const expr::BlockMaskShape shape{1, 1, 1, 2, 64, 64};
  const int32_t one = 1;
  const int32_t three = 3;
  const int32_t zero = 0;
  const int32_t two = 2;
  const auto refused = [&](expr::BlockLists partial, expr::BlockLists full, const char* part) {
    const Status status = expr::import_block_mask(shape, partial, full, true, imported);
    CHECK(status.code() == Code::kInvalidArgument);
    CHECK(status.message().find(part) != std::string::npos);
  };
  refused({&one, &two, 1}, {}, "index 2 of row 0");
  refused({&three, &zero, 1}, {}, "counts 3");
  refused({&one, &zero, 1}, {&one, &zero, 1}, "both partial and full");
  CHECK(imported.values.empty());
  refused({&one, nullptr, 1}, {}, "indices are null");
  CHECK(expr::import_top_k(shape, nullptr, 1, imported).code() == Code::kInvalidArgument);
  CHECK(expr::import_top_k(shape, &zero, -1, imported).code() == Code::kInvalidArgument);
  CHECK(expr::import_top_k(shape, &two, 1, imported).code() == Code::kInvalidArgument);
  CHECK(expr::import_top_k({1, 1, 0, 2, 64, 64}, &zero, 1, imported).message() ==
        "block mask: rows is 0, must be positive");
}

TEST_CASE("top-k lists show their blocks, each sequence its own") {
  const std::vector<int32_t> chosen = {0, -1, 2, 0, 3, 1, -1, -1};  // 2 sequences x 2 rows x 2
  ImportedMask imported;
  REQUIRE(expr::import_top_k({2, 1, 2, 4, 32, 64}, chosen.data(), 2, imported).ok());
  for (int32_t b = 0; b < 2; ++b) {
    check_import(
        imported, {0, 64, 256, b, 1},
        [&](int32_t, int32_t q, int32_t key) {
          const auto line = static_cast<size_t>((b * 2 + q / 32) * 2);
          return chosen[line] == key / 64 || chosen[line + 1] == key / 64;
        },
        1.0);
  }
}

TEST_CASE("FlashMask's columns: every form against its table") {
  constexpr int32_t kLen = 160;
  std::mt19937 random(5);
  for (const auto& [causal, columns] : {std::pair{true, 1}, {true, 2}, {false, 2}, {false, 4}}) {
    CAPTURE(causal);
    CAPTURE(columns);
    std::vector<int32_t> rows;  // two KV heads
    for (int32_t i = 0; i < 2 * kLen; ++i) {
      const int32_t key = i % kLen;
      int32_t bounds[4];
      bounds[0] = key / 40 * 40 + 40 + static_cast<int32_t>(random() % 9);
      bounds[1] = columns == 2 && !causal ? key / 40 * 40 - 10 : bounds[0] + 30;
      bounds[2] = 0;
      bounds[3] = key / 40 * 40;
      rows.insert(rows.end(), bounds, bounds + columns);
    }
    ImportedMask imported;
    REQUIRE(expr::import_flash_mask({rows.data(), 1, 2, kLen, columns, causal}, imported).ok());
    check_import(
        imported, {0, kLen, kLen, 0, 2},
        [&, causal = causal, columns = columns](int32_t h, int32_t q, int32_t key) {
          const int32_t* r = rows.data() + (h * kLen + key) * columns;
          if (causal && key > q) return false;
          if (causal && columns == 1) return !(q >= r[0]);
          if (causal) return !(q >= r[0] && q < r[1]);
          if (columns == 2) return !(q >= r[0]) && !(q < r[1]);
          return !(q >= r[0] && q < r[1]) && !(q >= r[2] && q < r[3]);
        },
        0.9);
  }
  ImportedMask imported;
  const int32_t row = 0;
  CHECK(expr::import_flash_mask({&row, 1, 1, 1, 4, true}, imported).code() ==
        Code::kInvalidArgument);
  CHECK(expr::import_flash_mask({&row, 1, 1, 1, 1, false}, imported).code() ==
        Code::kInvalidArgument);
}

TEST_CASE("trees by bits and by parents are one mask") {
  constexpr int32_t kNodes = 100;
  constexpr int32_t kPrefix = 77;
  std::mt19937 random(9);
  std::vector<int32_t> parents;
  for (int32_t i = 0; i < kNodes; ++i) {
    parents.push_back(i < 3 ? -1 : static_cast<int32_t>(random() % static_cast<uint32_t>(i)));
  }
  std::vector<uint64_t> words(kNodes * 2);
  for (int32_t i = 0; i < kNodes; ++i) {
    for (int32_t j = i; j >= 0; j = parents[static_cast<size_t>(j)]) {
      words[static_cast<size_t>(i * 2 + j / 64)] |= uint64_t{1} << (j % 64);
    }
  }
  const Definition sees = [&](int32_t, int32_t q, int32_t key) {
    if (key < kPrefix) return true;
    if (key >= kPrefix + kNodes) return false;
    for (int32_t j = q - kPrefix; j >= 0; j = parents[static_cast<size_t>(j)]) {
      if (j == key - kPrefix) return true;
    }
    return false;
  };
  const MaskShape shape{kPrefix, kNodes, kPrefix + kNodes + 20};
  ImportedMask imported;
  REQUIRE(expr::import_tree_bits(words, kNodes, 2, kPrefix, imported).ok());
  check_import(imported, shape, sees, 0.5);
  REQUIRE(expr::import_tree_parents(parents, kPrefix, imported).ok());
  check_import(imported, shape, sees, 0.5);

  const MaskShape at_end{kPrefix, kNodes, kPrefix + kNodes};
  REQUIRE(expr::import_tree_bits(words, kNodes, 2, expr::kTreeAtEnd, imported).ok());
  check_import(imported, at_end, sees, 0.5);
  REQUIRE(expr::import_tree_parents(parents, expr::kTreeAtEnd, imported).ok());
  check_import(imported, at_end, sees, 0.5);

  CHECK(expr::import_tree_parents(parents, -2, imported).code() == Code::kInvalidArgument);
  CHECK(expr::import_tree_bits(words, kNodes, 2, -2, imported).code() == Code::kInvalidArgument);
  CHECK(expr::import_tree_bits(words, kNodes, 1, kPrefix, imported).code() ==
        Code::kInvalidArgument);
  const std::vector<int32_t> loop = {-1, 2, 1};
  CHECK(expr::import_tree_parents(loop, 0, imported).code() == Code::kInvalidArgument);
}

}  // namespace attnrt::testing
