// SPDX-License-Identifier: Apache-2.0
// convert_kv between all layouts: every bit arrives, none between rows changes.
#include <doctest/doctest.h>

#include <array>
#include <string>
#include <utility>

#include "attnrt/attention.hpp"
#include "tests/support/check.hpp"
#include "tests/support/random_cache.hpp"

namespace attnrt {
namespace {

using test::CacheShape;
using test::RandomCache;

constexpr std::array kLayouts = {KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked16};

// What `to` must hold afterwards: rows of `from`, zeros as padding, the rest as it was.
void copy_by_element(const RandomCache& from, RandomCache& to) {
  for (const bool is_v : {false, true}) {
    if (is_v && to.shape.mla) continue;
    const int64_t dim = is_v ? to.shape.head_dim_v : to.shape.head_dim;
    for (int64_t slot = 0; slot < to.view.num_tokens; ++slot) {
      for (int64_t head = 0; head < to.shape.heads; ++head) {
        for (int64_t d = 0; d < to.columns(is_v); ++d) {
          to.set_bits(is_v, slot, head, d, d < dim ? from.bits(is_v, slot, head, d) : 0);
        }
      }
    }
  }
}

void check_case(Context& context, const CacheShape& from_shape, const CacheShape& to_shape) {
  const RandomCache from(from_shape, 1);
  RandomCache to(to_shape, 2);
  RandomCache wanted(to);
  copy_by_element(from, wanted);
  const RandomCache from_before(from);
  REQUIRE(convert_kv(context, from.view, to.view).message() == "");
  CHECK(to.same_bytes(wanted));
  CHECK(from.same_bytes(from_before));
}

void check_pairs(Context& context, CacheShape shape) {
  for (const KvLayout source : kLayouts) {
    for (const KvLayout target : kLayouts) {
      for (const bool padded : {false, true}) {
        CacheShape from = shape;
        from.layout = source;
        from.padded = padded;
        CacheShape to = shape;
        to.layout = target;
        to.padded = !padded || source == target;
        if (source == KvLayout::kPacked16 && target == source) continue;  // see below
        CAPTURE(std::string(to_string(source)));
        CAPTURE(std::string(to_string(target)));
        CAPTURE(std::string(to_string(shape.dtype)));
        CAPTURE(shape.page_size);
        CAPTURE(shape.head_dim);
        CAPTURE(padded);
        check_case(context, from, to);
      }
    }
  }
}

void check_all(Context& context) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const int32_t page_size : {16, 48, 64, 96, 160}) {
      for (const auto& [dim, dim_v] : {std::pair{16, 16}, {40, 72}, {59, 7}, {128, 64}}) {
        CacheShape shape;
        shape.dtype = dtype;
        shape.num_pages = 3;
        shape.page_size = page_size;
        shape.head_dim = dim;
        shape.head_dim_v = dim_v;
        check_pairs(context, shape);
      }
    }
  }
}

TEST_CASE("convert_kv moves every bit between any two layouts: cpu, every ISA") {
  for (const std::string& isa : test::usable_isas()) {
    CAPTURE(isa);
    Context context = test::cpu_context(isa, 3);
    check_all(context);
  }
}

TEST_CASE("convert_kv moves every bit between any two layouts: reference") {
  ContextOptions options;
  options.backend = "reference";
  Context context;
  REQUIRE(Context::create(options, context).message() == "");
  check_all(context);
}

TEST_CASE("a packed16 cache is copied to other strides, padding of zeros included") {
  Context context = test::cpu_context();
  for (const int32_t page_size : {48, 64}) {
    CacheShape shape;
    shape.page_size = page_size;
    shape.head_dim = 40;
    shape.head_dim_v = 72;
    const RandomCache rows(shape, 1);
    shape.layout = KvLayout::kPacked16;
    RandomCache dense(shape, 2);
    shape.padded = true;
    RandomCache apart(shape, 3), wanted(apart);
    copy_by_element(rows, wanted);
    REQUIRE(convert_kv(context, rows.view, dense.view).message() == "");
    REQUIRE(convert_kv(context, dense.view, apart.view).message() == "");
    CHECK(apart.same_bytes(wanted));
  }
}

TEST_CASE("there and back: the rows as they were") {
  Context context = test::cpu_context();
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    CacheShape shape;
    shape.dtype = dtype;
    shape.page_size = 64;
    shape.head_dim = 40;
    shape.head_dim_v = 72;
    const RandomCache rows(shape, 1);
    RandomCache back(shape, 2);
    shape.layout = KvLayout::kPacked16;
    RandomCache groups(shape, 3);
    REQUIRE(convert_kv(context, rows.view, groups.view).message() == "");
    REQUIRE(convert_kv(context, groups.view, back.view).message() == "");
    CHECK(back.same_bytes(rows));
  }
}

TEST_CASE("rows of any page size, and of MLA, are copied to other strides") {
  Context context = test::cpu_context();
  for (const bool mla : {false, true}) {
    for (const int32_t page_size : {1, 7, 17, 100}) {
      CacheShape shape;
      shape.page_size = page_size;
      shape.head_dim = 33;
      shape.head_dim_v = 20;
      shape.heads = mla ? 1 : 3;
      shape.mla = mla;
      CacheShape other = shape;
      other.layout = KvLayout::kHND;
      other.padded = true;
      CAPTURE(mla);
      CAPTURE(page_size);
      check_case(context, shape, other);
      check_case(context, other, shape);
    }
  }
}

TEST_CASE("convert_kv refuses caches that differ, overlap or are not paged") {
  Context context = test::cpu_context();
  CacheShape shape;
  const RandomCache from(shape, 1);
  shape.layout = KvLayout::kPacked16;
  RandomCache to(shape, 2);
  const RandomCache before(to);
  const auto refusal = [&](auto change) {
    KvView a = from.view;
    KvView b = to.view;
    change(a, b);
    const Status status = convert_kv(context, a, b);
    CHECK(status.code() == Code::kInvalidArgument);
    return status.message();
  };
  CHECK(refusal([](KvView& a, KvView&) { a.layout = KvLayout::kPacked; }) ==
        "from.layout is packed, must be nhd, hnd or packed16");
  CHECK(refusal([](KvView&, KvView& b) { b.layout = KvLayout::kPacked; }) ==
        "to.layout is packed, must be nhd, hnd or packed16");
  CHECK(refusal([](KvView& a, KvView&) { a.dtype = DType::kF16; }) ==
        "to.dtype is bf16, from.dtype is f16");
  CHECK(refusal([](KvView&, KvView& b) { b.num_pages = 4, b.num_tokens = 64; }) ==
        "to.num_pages is 4, from.num_pages is 5");
  CHECK(refusal([](KvView& a, KvView&) { a.page_size = 8, a.num_tokens = 40; }) ==
        "to.page_size is 16, from.page_size is 8");
  CHECK(refusal([](KvView& a, KvView&) { a.num_heads_kv = 1; }) ==
        "to.num_heads_kv is 2, from.num_heads_kv is 1");
  CHECK(refusal([](KvView& a, KvView&) { a.head_dim = 8; }) ==
        "to.head_dim is 16, from.head_dim is 8");
  CHECK(refusal([](KvView& a, KvView&) { a.head_dim_v = 8; }) ==
        "to.head_dim_v is 16, from.head_dim_v is 8");
  CHECK(refusal([](KvView& a, KvView&) { a.v_is_k_prefix = true; }) ==
        "from.v_is_k_prefix is set, to.v_is_k_prefix is not");
  CHECK(refusal([](KvView& a, KvView&) { a.k = nullptr; }) == "from.k is null");
  CHECK(refusal([](KvView&, KvView& b) { b.page_size = 20; }) ==
        "to.page_size is 20, must be a multiple of 16 with layout packed16");
  CHECK(refusal([](KvView& a, KvView& b) { a = b; }) == "to.k overlaps from.k");
  CHECK(refusal([](KvView& a, KvView& b) { a.v = b.k; }) == "to.k overlaps from.v");
  CHECK(refusal([](KvView& a, KvView& b) { a.device = b.device = static_cast<Device>(2); }) ==
        "to.device is 2, not a Device");
  CHECK(to.same_bytes(before));

  KvView a = from.view;
  KvView b = to.view;
  a.device = b.device = Device::kCuda;
  const Status status = convert_kv(context, a, b);
  CHECK(status.code() == Code::kUnsupported);
  CHECK(status.message() == "from.device is cuda, the cpu backend works in host memory only");
}

TEST_CASE("a cache without pages has nothing to convert") {
  Context context = test::cpu_context();
  const KvView from = KvView::paged(nullptr, nullptr, DType::kF32, KvLayout::kNHD, 0, 16, 2, 8);
  const KvView to = KvView::packed16(nullptr, DType::kF32, 0, 16, 2, 8);
  CHECK(convert_kv(context, from, to).message() == "");
}

}  // namespace
}  // namespace attnrt
