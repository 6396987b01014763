// SPDX-License-Identifier: Apache-2.0
// append_kv into packed16 against append_kv into rows (judged by append_test.cpp): every byte of
// the cache, so zeros of opened groups, padding and gaps are looked at too.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/attention.hpp"
#include "tests/support/check.hpp"
#include "tests/support/elements.hpp"
#include "tests/support/guarded.hpp"
#include "tests/support/problem.hpp"
#include "tests/support/random_cache.hpp"

namespace attnrt {
namespace {

using test::CacheShape;
using test::Elements;
using test::GuardedBuffer;
using test::RandomCache;

constexpr DType kDTypes[] = {DType::kF32, DType::kBF16, DType::kF16};
constexpr int32_t kHeads = 2;
constexpr int32_t kPages = 12;

enum class Form { kDense, kCsr, kSlots };

struct Setup {
  DType source = DType::kF32;
  DType cache = DType::kF32;
  int32_t page_size = 16;
  int32_t head_dim = 16;
  int32_t head_dim_v = 16;
  Form form = Form::kDense;
  bool rotary = false;
  bool padded = false;
};

// Rows that end at a page that faults.
struct Rows {
  Elements elements;
  GuardedBuffer guarded;
  ConstTensorView view;

  static Elements filled(DType dtype, int64_t count, uint64_t seed) {
    Elements list(dtype, count);
    for (int64_t i = 0; i < count; ++i) {
      list.set(i, static_cast<float>(test::hashed(seed, 1, i, 0)));
    }
    return list;
  }
  Rows(const Setup& setup, int64_t tokens, int32_t dim, uint64_t seed)
      : elements(filled(setup.source, tokens * kHeads * dim, seed)),
        guarded(elements.data(), static_cast<size_t>(elements.size() * size_of(setup.source)),
                GuardedBuffer::Guard::kBehind),
        view(dense_tensor(static_cast<const void*>(guarded.data()), setup.source, tokens, kHeads,
                          dim)) {}
};

// Where the tokens go; positions for rotation.
struct Places {
  std::vector<int32_t> cu_new{0}, cache_seqlens, pages, indptr{0}, positions;
  std::vector<int64_t> slots;  // of every token, whatever the form
  int32_t max_pages = 0;
  int64_t tokens = 0;
};

struct Added {
  int32_t used, added;
};

// Sequences in shuffled pages; with `shuffled` the same slots in any order and some left out.
Places make_places(const Setup& setup, std::span<const Added> sequences, bool shuffled) {
  std::mt19937_64 random(7);
  std::vector<int32_t> free_pages(kPages);
  for (int32_t i = 0; i < kPages; ++i) free_pages[static_cast<size_t>(i)] = i;
  std::shuffle(free_pages.begin(), free_pages.end(), random);
  Places places;
  std::vector<std::vector<int32_t>> rows;
  for (const Added& s : sequences) {
    const int32_t count = (s.used + s.added + setup.page_size - 1) / setup.page_size;
    REQUIRE(std::ssize(free_pages) >= count);
    rows.emplace_back(free_pages.end() - count, free_pages.end());
    free_pages.resize(free_pages.size() - static_cast<size_t>(count));
    places.max_pages = std::max(places.max_pages, count);
    places.cu_new.push_back(places.cu_new.back() + s.added);
    places.cache_seqlens.push_back(s.used);
    for (int32_t i = s.used; i < s.used + s.added; ++i) {
      const int32_t page = rows.back()[static_cast<size_t>(i / setup.page_size)];
      places.slots.push_back(int64_t{page} * setup.page_size + i % setup.page_size);
      places.positions.push_back(i);
    }
  }
  for (const std::vector<int32_t>& row : rows) {
    places.indptr.push_back(places.indptr.back() + static_cast<int32_t>(row.size()));
    places.pages.insert(places.pages.end(), row.begin(), row.end());
  }
  if (setup.form == Form::kDense) {
    places.pages.assign(rows.size() * static_cast<size_t>(places.max_pages), -1);
    for (size_t b = 0; b < rows.size(); ++b) {
      std::ranges::copy(rows[b], places.pages.begin() + static_cast<int64_t>(b) * places.max_pages);
    }
  }
  if (shuffled) {
    std::shuffle(places.slots.begin(), places.slots.end(), random);
    for (size_t i = 0; i < places.slots.size(); i += 7) places.slots[i] = -1;
  }
  places.tokens = std::ssize(places.slots);
  return places;
}

struct Tables {
  Elements cos, sin;
  RotaryView view;

  Tables(DType dtype, int32_t dim) : cos(dtype, 512 * dim), sin(dtype, 512 * dim) {
    for (int64_t i = 0; i < cos.size(); ++i) {
      cos.set(i, static_cast<float>(std::cos(0.01 * static_cast<double>(i))));
      sin.set(i, static_cast<float>(std::sin(0.01 * static_cast<double>(i))));
    }
    view = {cos.data(), sin.data(), dtype, 512, dim / 2 * 2, false};
  }
};

CacheShape cache_shape(const Setup& setup, KvLayout layout) {
  CacheShape shape;
  shape.dtype = setup.cache;
  shape.layout = layout;
  shape.num_pages = kPages;
  shape.page_size = setup.page_size;
  shape.heads = kHeads;
  shape.head_dim = setup.head_dim;
  shape.head_dim_v = setup.head_dim_v;
  shape.padded = setup.padded;
  return shape;
}

// Turns `groups` into what the append must leave there.
void model(const std::vector<int64_t>& slots, const RandomCache& rows, RandomCache& groups) {
  const auto write = [&](int64_t slot, bool zeros) {
    for (const bool is_v : {false, true}) {
      const int64_t dim = is_v ? groups.shape.head_dim_v : groups.shape.head_dim;
      for (int64_t head = 0; head < kHeads; ++head) {
        for (int64_t d = 0; d < groups.columns(is_v); ++d) {
          const bool value = !zeros && d < dim;
          groups.set_bits(is_v, slot, head, d, value ? rows.bits(is_v, slot, head, d) : 0);
        }
      }
    }
  };
  for (const int64_t slot : slots) {
    if (slot < 0 || slot % 16 != 0) continue;
    for (int64_t i = 0; i < 16; ++i) write(slot + i, true);
  }
  for (const int64_t slot : slots) {
    if (slot >= 0) write(slot, false);
  }
}

void check_append(Context& context, const Setup& setup, std::span<const Added> sequences) {
  const Places places = make_places(setup, sequences, setup.form == Form::kSlots);
  const Rows k(setup, places.tokens, setup.head_dim, 1);
  const Rows v(setup, places.tokens, setup.head_dim_v, 2);
  const Tables tables(setup.source, setup.head_dim);
  AppendArgs args;
  args.k = k.view;
  args.v = v.view;
  if (setup.rotary) args.rotary = tables.view;
  if (setup.form == Form::kSlots) {
    args.slot_mapping = places.slots;
    args.rotary_positions = places.positions;
  } else {
    args.cu_seqlens_new = places.cu_new;
    args.cache_seqlens = places.cache_seqlens;
    args.block_table = setup.form == Form::kCsr
                           ? BlockTable::csr(places.indptr, places.pages, {}, setup.page_size)
                           : BlockTable::dense(places.pages, places.max_pages, setup.page_size);
  }
  RandomCache rows(cache_shape(setup, KvLayout::kNHD), 3);
  args.kv = rows.view;
  REQUIRE(append_kv(context, args).message() == "");

  RandomCache groups(cache_shape(setup, KvLayout::kPacked16), 4);
  RandomCache wanted(groups);
  model(places.slots, rows, wanted);
  args.kv = groups.view;
  REQUIRE(append_kv(context, args).message() == "");
  CHECK(groups.same_bytes(wanted));
}

// New, behind a part of a group, nothing, one at the start of a group, within one group, several
// groups and pages.
constexpr Added kSequences[] = {{0, 37}, {13, 40}, {5, 0}, {16, 1}, {5, 3}, {31, 34}};

std::vector<Setup> setups() {
  std::vector<Setup> list;
  for (const DType source : kDTypes) {
    for (const DType cache : kDTypes) {
      for (const Form form : {Form::kDense, Form::kCsr, Form::kSlots}) {
        for (const int32_t page_size : {32, 48, 64}) {
          Setup setup{source, cache, page_size, 40, 72, form, false, page_size == 48};
          list.push_back(setup);
          setup.rotary = true;
          setup.head_dim = 64;
          setup.head_dim_v = 16;
          setup.padded = !setup.padded;
          list.push_back(setup);
          setup.rotary = false;
          if (source == cache && form == Form::kDense) list.push_back(setup);
        }
      }
    }
  }
  return list;
}

void check_all(Context& context) {
  for (const Setup& setup : setups()) {
    CAPTURE(std::string(to_string(setup.source)));
    CAPTURE(std::string(to_string(setup.cache)));
    CAPTURE(setup.page_size);
    CAPTURE(setup.head_dim);
    CAPTURE(static_cast<int>(setup.form));
    CAPTURE(setup.rotary);
    check_append(context, setup, kSequences);
  }
}

TEST_CASE("packed16: append_kv writes keys, padding and zeros, nothing else: cpu, every ISA") {
  for (const std::string& isa : test::usable_isas()) {
    CAPTURE(isa);
    Context context = test::cpu_context(isa, 4);
    check_all(context);
  }
}

TEST_CASE("packed16: append_kv writes keys, padding and zeros, nothing else: reference") {
  ContextOptions options;
  options.backend = "reference";
  Context context;
  REQUIRE(Context::create(options, context).message() == "");
  check_all(context);
}

TEST_CASE("packed16: pages of one group, odd head dims") {
  constexpr Added few[] = {{0, 17}, {15, 20}, {33, 1}};
  Context context = test::cpu_context();
  for (const DType cache : kDTypes) {
    for (const int32_t dim : {1, 15, 17, 59}) {
      Setup setup{DType::kF32, cache, 16, dim, dim + 1, Form::kDense, dim > 1, false};
      CAPTURE(std::string(to_string(cache)));
      CAPTURE(dim);
      check_append(context, setup, few);
    }
  }
}

TEST_CASE("packed16: decode steps one by one leave what one call leaves") {
  for (const DType dtype : kDTypes) {
    const Setup setup{dtype, dtype, 32, 40, 24, Form::kSlots, false, false};
    constexpr int32_t kTokens = 45;
    const Rows k(setup, kTokens, setup.head_dim, 1);
    const Rows v(setup, kTokens, setup.head_dim_v, 2);
    RandomCache whole(cache_shape(setup, KvLayout::kPacked16), 3);
    RandomCache steps(whole);
    std::vector<int64_t> slots;
    for (int64_t i = 0; i < kTokens; ++i) slots.push_back(64 + i);
    Context context = test::cpu_context();
    AppendArgs args;
    args.k = k.view;
    args.v = v.view;
    args.kv = whole.view;
    args.slot_mapping = slots;
    REQUIRE(append_kv(context, args).message() == "");
    args.kv = steps.view;
    args.k.shape[0] = args.v.shape[0] = 1;
    for (size_t i = 0; i < kTokens; ++i) {
      const auto at = static_cast<int64_t>(i);
      const int64_t bytes = size_of(dtype);
      args.k.data = k.guarded.data() + at * k.view.strides[0] * bytes;
      args.v.data = v.guarded.data() + at * v.view.strides[0] * bytes;
      args.slot_mapping = std::span(slots).subspan(i, 1);
      REQUIRE(append_kv(context, args).message() == "");
    }
    CHECK(steps.same_bytes(whole));
  }
}

// 2048 slots of shared groups in an order that puts the keys of a group on many workers.
TEST_CASE("packed16: slots in any order on many threads") {
  constexpr int32_t kMany = 2048;
  const Setup setup{DType::kBF16, DType::kBF16, 256, 16, 16, Form::kSlots, false, false};
  const Rows k(setup, kMany, 16, 1);
  const Rows v(setup, kMany, 16, 2);
  std::vector<int64_t> slots(kMany);
  for (int64_t i = 0; i < kMany; ++i) slots[static_cast<size_t>(i)] = i * 1009 % kMany;
  AppendArgs args;
  args.k = k.view;
  args.v = v.view;
  args.slot_mapping = slots;
  Context context = test::cpu_context({}, 8);
  RandomCache rows(cache_shape(setup, KvLayout::kNHD), 3);
  args.kv = rows.view;
  REQUIRE(append_kv(context, args).message() == "");
  for (int repeat = 0; repeat < 20; ++repeat) {
    RandomCache groups(cache_shape(setup, KvLayout::kPacked16), 4);
    RandomCache wanted(groups);
    model(slots, rows, wanted);
    args.kv = groups.view;
    REQUIRE(append_kv(context, args).message() == "");
    REQUIRE(groups.same_bytes(wanted));
  }
}

// A slot named twice holds one of its keys; the others of its group are not lost.
TEST_CASE("packed16: a group that two runs of slot_mapping open keeps the keys of both") {
  const Setup setup{DType::kF32, DType::kF32, 16, 16, 16, Form::kSlots, false, false};
  const Rows k(setup, 5, 16, 1);
  const Rows v(setup, 5, 16, 2);
  const std::vector<int64_t> slots = {0, 1, 2, 0, 5};
  Context context = test::cpu_context();
  RandomCache groups(cache_shape(setup, KvLayout::kPacked16), 4);
  AppendArgs args;
  args.k = k.view;
  args.v = v.view;
  args.slot_mapping = slots;
  args.kv = groups.view;
  REQUIRE(append_kv(context, args).message() == "");
  const auto stored = [&](int64_t slot) {
    const uint32_t bits = groups.bits(false, slot, 1, 3);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  };
  const auto given = [&](int64_t token) { return k.elements.get((token * kHeads + 1) * 16 + 3); };
  CHECK((stored(0) == given(0) || stored(0) == given(3)));
  CHECK(stored(1) == given(1));
  CHECK(stored(2) == given(2));
  CHECK(stored(5) == given(4));
  CHECK(stored(4) == 0.0f);
  CHECK(stored(15) == 0.0f);
}

}  // namespace
}  // namespace attnrt
