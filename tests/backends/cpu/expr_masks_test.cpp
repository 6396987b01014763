// SPDX-License-Identifier: Apache-2.0
// Masks inside the kernels against their definition, bit by bit: q is 0, so all weights of a row
// are equal, and V of a key is 1 in a dim of its own.
#include <doctest/doctest.h>

#include "tests/backends/cpu/expr_case.hpp"
#include "tests/backends/cpu/expr_tables.hpp"
#include "tests/src/expr/catalogue_masks.hpp"
#include "tests/support/mask_catalogue.hpp"

namespace attnrt::test {
namespace {

using expr::Expr;

constexpr int32_t kDims = cpu::kBlockKeys;

KernelShape mask_shape(int32_t tokens, int32_t group, int32_t heads_kv, int32_t kv_len) {
  KernelShape s;
  s.tokens = tokens;
  s.group = group;
  s.heads_kv = heads_kv;
  s.head_dim = 16;
  s.head_dim_v = kDims;
  s.kv_len = kv_len;
  s.window_right = -1;
  return s;
}

KernelCase one_hot_case(const KernelShape& s) {
  KernelCase c(s);
  for (int64_t i = 0; i < c.q_at(s.tokens, 0); ++i) put(s.q_dtype, c.q.data(), i, 0.0);
  for (int32_t key = 0; key < s.kv_len; ++key) {
    for (int32_t head = 0; head < s.heads_kv; ++head) {
      for (int32_t d = 0; d < kDims; ++d) c.set_v(key, head, d, d == key % kDims ? 1.0 : 0.0);
    }
  }
  return c;
}

// How many elements differ from the definition.
int64_t wrong_elements(const KernelCase& c, const cpu::KernelTable& table, TileCase& mask,
                       Width width) {
  const KernelShape& s = c.shape;
  TileScratch scratch;
  int64_t wrong = 0;
  for (int32_t block = 0; block < s.kv_len; block += kDims) {
    const expr::MaskRun run{block, std::min(block + kDims, s.kv_len), ~uint64_t{0}};
    const KernelOutput to = c.output();
    cpu::AttendTask task = tile_task(c, 0, s.tokens, to, {&mask, nullptr, width}, {&run, 1});
    scratch.give_to(task);
    c.kernel(table)(task);
    for (int32_t token = 0; token < s.tokens; ++token) {
      for (int32_t head = 0; head < s.heads_q(); ++head) {
        const int64_t row = (int64_t{token} * s.heads_q() + head) * kDims;
        for (int32_t key = run.key_begin; key < run.key_end; ++key) {
          const bool seen = get(s.out_dtype, to.out.data(), row + key % kDims) != 0.0;
          if (seen != mask.evaluator().predicate(point_of(s, token, head, key))) ++wrong;
        }
      }
    }
  }
  return wrong;
}

void check_mask(const KernelCase& c, const Expr& expression,
                std::span<const expr::SlotValue> values) {
  TileCase mask(expression, values, /*is_mask=*/true);
  REQUIRE(mask.status().ok());
  CAPTURE(to_string(expression));
  CAPTURE(c.shape.text());
  CAPTURE(mask.needs_wide(c.shape));
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    CHECK(wrong_elements(c, *table, mask, Width::kAsNeeded) == 0);
    CHECK(wrong_elements(c, *table, mask, Width::kWide) == 0);
  }
}

TEST_CASE("masks of the catalogue, element by element") {
  const expr::catalogue::Tables tables;
  const std::vector<expr::SlotValue> values = tables.values();
  const KernelCase tall = one_hot_case(mask_shape(21, 2, 1, 150));
  const KernelCase decode = one_hot_case(mask_shape(1, 4, 3, 50));
  for (const auto& at : expr::catalogue::kMasks) {
    Expr mask;
    REQUIRE(parse(at.text, mask).ok());
    check_mask(tall, mask, values);
    check_mask(decode, mask, values);
  }
}

TEST_CASE("masks of the catalogue at their own size") {
  for (const testing::MaskCase& at : testing::mask_catalogue(256)) {
    Expr mask;
    REQUIRE(parse(at.text, mask).ok());
    KernelShape s = mask_shape(std::min(at.q_len, 40), at.num_heads, 1, std::min(at.kv_len, 300));
    s.q_start = at.q_begin + (at.q_len - s.tokens) / 2;
    check_mask(one_hot_case(s), mask, at.values());
  }
}

TEST_CASE("random masks of exact operations, element by element") {
  expr::RandomExpressions random(17);
  std::vector<KernelCase> cases;
  cases.push_back(one_hot_case(mask_shape(11, 1, 1, 40)));
  cases.push_back(one_hot_case(mask_shape(3, 2, 2, 140)));
  cases.push_back(one_hot_case(mask_shape(1, 7, 1, 20)));
  for (uint32_t n = 0; n < 600;) {
    const Expr mask = random.mask(3 + static_cast<int>(n % 3));
    if (!is_exact(mask.node())) continue;
    const RandomTables tables(n);
    check_mask(cases[n % cases.size()], mask, tables.values());
    ++n;
  }
}

}  // namespace
}  // namespace attnrt::test
