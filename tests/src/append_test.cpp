// SPDX-License-Identifier: Apache-2.0
// append_kv against a scalar computation of the test's own: every dtype, layout and form, all bytes
// of the cache compared, those between and behind the new rows included.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/attention.hpp"
#include "tests/support/check.hpp"
#include "tests/support/elements.hpp"
#include "tests/support/problem.hpp"

namespace attnrt {
namespace {

using test::Elements;

constexpr DType kDTypes[] = {DType::kF32, DType::kBF16, DType::kF16};
constexpr int32_t kHeads = 3;
constexpr int32_t kDim = 20;
constexpr int32_t kDimV = 12;
constexpr int32_t kPageSize = 5;
constexpr int32_t kPages = 9;
constexpr int32_t kSlots = kPages * kPageSize;
constexpr int32_t kMaxPosition = 32;

enum class Form { kDense, kCsr, kSlots, kPacked };
enum class Rotation { kNone, kHalves, kInterleaved };

struct Setup {
  DType source = DType::kF32;
  DType cache = DType::kF32;
  KvLayout layout = KvLayout::kNHD;
  Form form = Form::kDense;
  Rotation rotation = Rotation::kNone;
  bool listed_positions = false;
  bool mla = false;
};

// Seven new tokens of four sequences; the second has none. The third begins in the last slot of
// a page.
struct Lists {
  std::vector<int32_t> cu_new = {0, 2, 2, 6, 7};
  std::vector<int32_t> cache_seqlens = {0, 3, 4, 9};
  std::vector<int32_t> dense = {4, -1, 2, -1, 8, 0, -1, 1};
  int32_t max_pages = 2;
  std::vector<int32_t> indptr = {0, 1, 2, 4, 6};
  std::vector<int32_t> csr = {4, 2, 8, 0, -1, 1};
  std::vector<int32_t> cu_k = {0, 2, 20, 30, 40};
  std::vector<int64_t> slots = {44, -1, 0, 17, 16, -1, 3};
  std::vector<int32_t> positions = {31, 0, 5, 5, 7, 1, 30};
};

// Where token i goes, and where it stands: written out by hand from the lists above.
constexpr std::array<int64_t, 7> kPagedSlots = {4 * 5 + 0, 4 * 5 + 1, 8 * 5 + 4, 0 * 5 + 0,
                                                0 * 5 + 1, 0 * 5 + 2, 1 * 5 + 4};
constexpr std::array<int64_t, 7> kPackedSlots = {0, 1, 24, 25, 26, 27, 39};
constexpr std::array<int64_t, 7> kPositions = {0, 1, 4, 5, 6, 7, 9};

// Rows are padded by 3 elements and heads by 1, in the source as in the cache.
struct Rows {
  Elements elements;
  ConstTensorView view;

  Rows(DType dtype, int64_t tokens, int64_t heads, int64_t dim, uint64_t seed)
      : elements(dtype, tokens * (heads * (dim + 1) + 3)) {
    view = {elements.data(), dtype, Device::kCpu, {tokens, heads, dim}, {}};
    view.strides = {heads * (dim + 1) + 3, dim + 1, 1};
    for (int64_t i = 0; i < elements.size(); ++i) {
      elements.set(i, static_cast<float>(test::hashed(seed, 1, i, 0)));
    }
  }
  [[nodiscard]] float get(int64_t token, int64_t head, int64_t d) const {
    return elements.get(token * view.strides[0] + head * view.strides[1] + d);
  }
};

KvStrides padded_strides(KvLayout layout, int64_t dim) {
  KvStrides strides;
  if (layout == KvLayout::kHND) {
    strides.token = dim + 1;
    strides.head = kPageSize * strides.token + 2;
    strides.page = kHeads * strides.head + 5;
  } else {
    strides.head = dim + 1;
    strides.token = kHeads * strides.head + 3;
    strides.page = kPageSize * strides.token + 5;
  }
  return strides;
}

int64_t offset_of(const KvView& kv, const KvStrides& strides, int64_t slot, int64_t head) {
  if (kv.layout == KvLayout::kPacked) return slot * strides.token + head * strides.head;
  return slot / kPageSize * strides.page + slot % kPageSize * strides.token + head * strides.head;
}

struct Tables {
  Elements cos, sin;
  RotaryView view;

  // rotary_dim 16 of 20 columns: the last four are copied.
  Tables(DType dtype, Rotation rotation) : cos(dtype, kMaxPosition * 8), sin(dtype, cos.size()) {
    for (int64_t p = 0; p < kMaxPosition; ++p) {
      for (int64_t i = 0; i < 8; ++i) {
        const double angle = static_cast<double>(p) / std::pow(100.0, static_cast<double>(i) / 8.0);
        cos.set(p * 8 + i, static_cast<float>(std::cos(angle)));
        sin.set(p * 8 + i, static_cast<float>(std::sin(angle)));
      }
    }
    view.dtype = dtype;
    view.max_position = kMaxPosition;
    view.rotary_dim = 16;
    view.interleaved = rotation == Rotation::kInterleaved;
    if (rotation == Rotation::kNone) return;
    view.cos = cos.data();
    view.sin = sin.data();
  }
};

double rotated(const Rows& rows, const Tables& tables, int64_t token, int64_t head, int64_t d,
               int64_t position) {
  const double x = rows.get(token, head, d);
  if (tables.view.cos == nullptr || d >= 16) return x;
  const int64_t pair = tables.view.interleaved ? d / 2 : d % 8;
  const bool first = tables.view.interleaved ? d % 2 == 0 : d < 8;
  const int64_t mate = tables.view.interleaved ? d ^ 1 : (d + 8) % 16;
  const double c = tables.cos.get(position * 8 + pair);
  const double s = tables.sin.get(position * 8 + pair);
  const double y = rows.get(token, head, mate);
  return first ? x * c - y * s : x * c + y * s;
}

// Half a unit in the last place decides which neighbour f32 rounding picks, so a rotated 16-bit
// value may be one unit away; inputs and angles are at most 1.
double tolerance(DType dtype, bool exact) {
  if (exact) return 0.0;
  if (dtype == DType::kF32) return 4e-7;
  return dtype == DType::kBF16 ? 0.01 : 0.0012;
}

class Fixture {
 public:
  explicit Fixture(const Setup& setup)
      : setup_(setup),
        k_(setup.source, 7, setup.mla ? 1 : kHeads, kDim, 1),
        v_(setup.source, 7, kHeads, kDimV, 2),
        tables_(setup.source, setup.rotation),
        cache_k_(setup.cache, kPages * 500),
        cache_v_(setup.cache, kPages * 300) {
    KvView& kv = args_.kv;
    if (setup.mla) {
      kv = KvView::mla(cache_k_.data(), setup.cache, kPages, kPageSize, kDim, kDimV);
    } else if (setup.layout == KvLayout::kPacked) {
      kv = KvView::packed(cache_k_.data(), cache_v_.data(), setup.cache, kSlots, kHeads, kDim,
                          kDimV);
    } else {
      kv = KvView::paged(cache_k_.data(), cache_v_.data(), setup.cache, setup.layout, kPages,
                         kPageSize, kHeads, kDim, kDimV);
    }
    kv.k_strides = padded_strides(setup.layout, kDim);
    kv.v_strides = padded_strides(setup.layout, kDimV);
    args_.k = k_.view;
    if (!setup.mla) args_.v = v_.view;
    args_.rotary = tables_.view;
    place();
  }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  // Empty, or the first element that is not as it should be.
  std::string run(Context& context) {
    const Elements before_k = cache_k_;
    const Elements before_v = cache_v_;
    const Status status = append_kv(context, args_);
    if (!status.ok()) return status.message();
    std::string problem = compare(k_, cache_k_, before_k, args_.kv.k_strides, tables_.view.cos);
    if (!problem.empty()) return "k: " + problem;
    if (setup_.mla) return all_same(cache_v_, before_v) ? "" : "v was written";
    problem = compare(v_, cache_v_, before_v, args_.kv.v_strides, nullptr);
    return problem.empty() ? "" : "v: " + problem;
  }

 private:
  void place() {
    const bool packed = setup_.layout == KvLayout::kPacked;
    for (size_t i = 0; i < 7; ++i) {
      slots_[i] = packed ? kPackedSlots[i] : kPagedSlots[i];
      positions_[i] = kPositions[i];
    }
    if (setup_.form == Form::kSlots) {
      args_.slot_mapping = lists_.slots;
      std::ranges::copy(lists_.slots, slots_.begin());
    } else {
      args_.cu_seqlens_new = lists_.cu_new;
      args_.cache_seqlens = lists_.cache_seqlens;
    }
    if (setup_.form == Form::kDense) {
      args_.block_table = BlockTable::dense(lists_.dense, lists_.max_pages, kPageSize);
    } else if (setup_.form == Form::kCsr) {
      args_.block_table = BlockTable::csr(lists_.indptr, lists_.csr, {}, kPageSize);
    } else if (setup_.form == Form::kPacked) {
      args_.cu_seqlens_k = lists_.cu_k;
    }
    if (setup_.listed_positions || setup_.form == Form::kSlots) {
      args_.rotary_positions = lists_.positions;
      std::ranges::copy(lists_.positions, positions_.begin());
    }
  }

  std::string compare(const Rows& rows, const Elements& cache, const Elements& before,
                      const KvStrides& strides, const void* rotates) const {
    std::vector<bool> is_new(static_cast<size_t>(cache.size()));
    const double bound = tolerance(setup_.cache, rotates == nullptr);
    const Tables none(setup_.source, Rotation::kNone);
    const Tables& tables = rotates == nullptr ? none : tables_;
    Elements wanted(setup_.cache, 1);
    for (size_t i = 0; i < 7; ++i) {
      if (slots_[i] < 0) continue;
      const auto token = static_cast<int64_t>(i);
      for (int64_t head = 0; head < rows.view.shape[1]; ++head) {
        for (int64_t d = 0; d < rows.view.shape[2]; ++d) {
          const int64_t at = offset_of(args_.kv, strides, slots_[i], head) + d;
          is_new[static_cast<size_t>(at)] = true;
          wanted.set(0, static_cast<float>(rotated(rows, tables, token, head, d, positions_[i])));
          const double error = std::abs(double{cache.get(at)} - double{wanted.get(0)});
          if (error <= bound) continue;
          return "token " + std::to_string(i) + ", head " + std::to_string(head) + ", column " +
                 std::to_string(d) + " is " + std::to_string(cache.get(at)) + ", not " +
                 std::to_string(wanted.get(0));
        }
      }
    }
    for (int64_t at = 0; at < cache.size(); ++at) {
      if (is_new[static_cast<size_t>(at)] || cache.same_bits(before, at)) continue;
      return "element " + std::to_string(at) + " was written";
    }
    return "";
  }

  static bool all_same(const Elements& a, const Elements& b) {
    for (int64_t i = 0; i < a.size(); ++i) {
      if (!a.same_bits(b, i)) return false;
    }
    return true;
  }

  Setup setup_;
  Lists lists_;
  Rows k_, v_;
  Tables tables_;
  Elements cache_k_, cache_v_;
  AppendArgs args_;
  std::array<int64_t, 7> slots_{}, positions_{};
};

std::vector<Setup> setups() {
  const std::pair<KvLayout, Form> places[] = {
      {KvLayout::kNHD, Form::kDense},     {KvLayout::kNHD, Form::kCsr},
      {KvLayout::kNHD, Form::kSlots},     {KvLayout::kHND, Form::kDense},
      {KvLayout::kHND, Form::kCsr},       {KvLayout::kHND, Form::kSlots},
      {KvLayout::kPacked, Form::kPacked}, {KvLayout::kPacked, Form::kSlots},
  };
  std::vector<Setup> list;
  for (const DType source : kDTypes) {
    for (const DType cache : kDTypes) {
      for (const auto& [layout, form] : places) {
        for (const Rotation rotation :
             {Rotation::kNone, Rotation::kHalves, Rotation::kInterleaved}) {
          list.push_back({source, cache, layout, form, rotation, false, false});
          if (form == Form::kSlots) continue;
          list.push_back({source, cache, layout, form, rotation, true, false});
        }
      }
      list.push_back({source, cache, KvLayout::kNHD, Form::kDense, Rotation::kHalves, false, true});
    }
  }
  return list;
}

void check_all(Context& context) {
  for (const Setup& setup : setups()) {
    CAPTURE(to_string(setup.source));
    CAPTURE(to_string(setup.cache));
    CAPTURE(to_string(setup.layout));
    CAPTURE(static_cast<int>(setup.form));
    CAPTURE(static_cast<int>(setup.rotation));
    CAPTURE(setup.listed_positions);
    CAPTURE(setup.mla);
    CHECK(Fixture(setup).run(context) == "");
  }
}

TEST_CASE("append_kv stores what a scalar computation says: cpu, every ISA") {
  for (const std::string& isa : test::usable_isas()) {
    CAPTURE(isa);
    Context context = test::cpu_context(isa);
    check_all(context);
  }
}

TEST_CASE("append_kv stores what a scalar computation says: reference") {
  ContextOptions options;
  options.backend = "reference";
  Context context;
  REQUIRE(Context::create(options, context).message() == "");
  check_all(context);
}

// Values that a conversion may not disturb, for each of the nine pairs of dtypes.
TEST_CASE("special values survive the conversion, overflow becomes infinite") {
  const float values[] = {0.0f,        -0.0f,       INFINITY,       -INFINITY, NAN,
                          65519.0f,    65520.0f,    1e38f,          3.4e38f,   1e-40f,
                          6e-8f,       2e-8f,       0x1p-24f,       1.0f,      -1e5f,
                          1.00390625f, 1.01171875f, 1.00048828125f, 2049.0f,   -7.25f};
  static_assert(std::size(values) == kDim);
  for (const std::string& isa : test::usable_isas()) {
    Context context = test::cpu_context(isa);
    for (const DType source : kDTypes) {
      for (const DType cache : kDTypes) {
        CAPTURE(isa);
        CAPTURE(to_string(source));
        CAPTURE(to_string(cache));
        Elements k(source, kDim), stored(cache, kDim), wanted(cache, kDim);
        for (int64_t d = 0; d < kDim; ++d) {
          k.set(d, values[d]);
          wanted.set(d, k.get(d));
        }
        AppendArgs args;
        args.k = dense_tensor(std::as_const(k).data(), source, 1, 1, kDim);
        args.kv = KvView::mla(stored.data(), cache, 1, 1, kDim, kDim);
        const int64_t slot = 0;
        args.slot_mapping = std::span(&slot, 1);
        REQUIRE(append_kv(context, args).message() == "");
        for (int64_t d = 0; d < kDim; ++d) {
          CAPTURE(d);
          const bool both_nan = std::isnan(stored.get(d)) && std::isnan(wanted.get(d));
          const bool same = stored.same_bits(wanted, d) || both_nan;
          CHECK(same);
        }
      }
    }
  }
}

TEST_CASE("many tokens on many threads land where few land alone") {
  constexpr int32_t kMany = 3000;
  Context context = test::cpu_context();
  std::vector<float> k(kMany * 8), v(kMany * 8), cache_k(kMany * 8, -1.0f), cache_v(cache_k);
  std::vector<int64_t> slots(kMany);
  for (int32_t i = 0; i < kMany; ++i) {
    slots[static_cast<size_t>(i)] = (i * int64_t{1009}) % kMany;  // 1009 is prime: a permutation
    for (size_t d = 0; d < 8; ++d) {
      k[static_cast<size_t>(i) * 8 + d] = static_cast<float>(i) + static_cast<float>(d) / 8;
      v[static_cast<size_t>(i) * 8 + d] = -static_cast<float>(i) - static_cast<float>(d) / 8;
    }
  }
  AppendArgs args;
  args.k = dense_tensor(std::as_const(k).data(), DType::kF32, kMany, 2, 4);
  args.v = dense_tensor(std::as_const(v).data(), DType::kF32, kMany, 2, 4);
  args.kv = KvView::paged(cache_k.data(), cache_v.data(), DType::kF32, KvLayout::kNHD, kMany / 4, 4,
                          2, 4);
  args.slot_mapping = slots;
  REQUIRE(append_kv(context, args).message() == "");
  int wrong = 0;
  for (size_t i = 0; i < kMany; ++i) {
    const auto slot = static_cast<size_t>(slots[i]);
    for (size_t d = 0; d < 8; ++d) {
      wrong += cache_k[slot * 8 + d] == k[i * 8 + d] ? 0 : 1;
      wrong += cache_v[slot * 8 + d] == v[i * 8 + d] ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace attnrt
