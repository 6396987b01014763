// SPDX-License-Identifier: Apache-2.0
// flash_attn_with_kvcache against a scalar computation in double, cache included. Slots that no
// query may see hold NaN.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/flash_attn.hpp"
#include "tests/support/check.hpp"
#include "tests/support/elements.hpp"
#include "tests/support/problem.hpp"

namespace attnrt {
namespace {

using test::Elements;
using test::hashed;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr int32_t kBatch = 3;
constexpr int32_t kHeadsQ = 4;
constexpr int32_t kHeadsKv = 2;
constexpr int32_t kDim = 16;
constexpr int32_t kDimV = 8;
constexpr int32_t kRotaryDim = 12;  // the last four columns are not rotated
constexpr int32_t kMaxPosition = 64;
constexpr int32_t kRowKeys = 48;  // keys of an unpaged row, or three pages of 16
constexpr int32_t kCacheKeys = 10 * kRowKeys;

enum class Cache { kRows, kIndexedRows, kPages };
enum class Rotation { kNone, kHalves, kInterleaved };

struct Setup {
  Cache cache = Cache::kRows;
  KvLayout layout = KvLayout::kNHD;
  DType dtype = DType::kF32;
  Rotation rotation = Rotation::kNone;
  bool leftpad = false;
  bool ragged = false;  // lengths of queries and of new keys differ, and from each other
  bool appends = true;
  bool causal = false;
  int32_t window_left = -1;
  float softcap = 0.0f;
  bool alibi = false;
  bool sinks = false;
};

std::string describe(const Setup& s) {
  return "cache " + std::to_string(static_cast<int>(s.cache)) + " " + to_string(s.layout) + " " +
         to_string(s.dtype) + ", rotation " + std::to_string(static_cast<int>(s.rotation)) +
         (s.leftpad ? ", leftpad" : "") + (s.ragged ? ", ragged" : "") +
         (s.appends ? "" : ", no new keys") + (s.causal ? ", causal" : "") + ", window " +
         std::to_string(s.window_left) + (s.alibi ? ", alibi" : "") + (s.sinks ? ", sinks" : "");
}

Elements random_elements(DType dtype, int64_t count, uint64_t stream) {
  Elements list(dtype, count);
  for (int64_t i = 0; i < count; ++i) list.set(i, static_cast<float>(hashed(3, stream, i, 0)));
  return list;
}

class CacheCall {
 public:
  explicit CacheCall(const Setup& setup)
      : setup_(setup),
        cu_q_(setup.ragged ? std::vector<int32_t>{0, 1, 5, 7} : std::vector<int32_t>{0, 2, 4, 6}),
        cu_new_(setup.ragged ? std::vector<int32_t>{0, 3, 3, 4} : std::vector<int32_t>{0, 2, 4, 6}),
        leftpad_(setup.leftpad ? std::vector<int32_t>{2, 0, 30} : std::vector<int32_t>{0, 0, 0}),
        q_(random_elements(DType::kF32, cu_q_.back() * kHeadsQ * kDim, 1)),
        new_k_(random_elements(DType::kF32, cu_new_.back() * kHeadsKv * kDim, 2)),
        new_v_(random_elements(DType::kF32, cu_new_.back() * kHeadsKv * kDimV, 3)),
        cache_k_(random_elements(setup.dtype, kCacheKeys * kHeadsKv * kDim, 4)),
        cache_v_(random_elements(setup.dtype, kCacheKeys * kHeadsKv * kDimV, 5)),
        cos_(DType::kF32, kMaxPosition * kRotaryDim / 2),
        sin_(DType::kF32, kMaxPosition * kRotaryDim / 2),
        out_(static_cast<size_t>(cu_q_.back() * kHeadsQ * kDimV), -99.0f),
        lse_(static_cast<size_t>(cu_q_.back() * kHeadsQ), -99.0f) {
    for (int64_t i = 0; i < cos_.size(); ++i) {
      const double angle = static_cast<double>(i / (kRotaryDim / 2)) /
                           std::pow(50.0, static_cast<double>(i % (kRotaryDim / 2)) / 6.0);
      cos_.set(i, static_cast<float>(std::cos(angle)));
      sin_.set(i, static_cast<float>(std::sin(angle)));
    }
    poison();
    make_args();
  }
  CacheCall(const CacheCall&) = delete;
  CacheCall& operator=(const CacheCall&) = delete;

  // Empty, or what is wrong.
  std::string run(Context& context) {
    expect_cache();
    const Status status = flash_attn_with_kvcache(context, args_);
    if (!status.ok()) return status.message();
    std::string problem = compare_cache(cache_k_, want_k_, "k");
    if (problem.empty()) problem = compare_cache(cache_v_, want_v_, "v");
    for (int32_t b = 0; b < kBatch && problem.empty(); ++b) {
      for (int32_t i = cu_q_[at(b)]; i < cu_q_[at(b) + 1] && problem.empty(); ++i) {
        for (int32_t head = 0; head < kHeadsQ && problem.empty(); ++head) {
          problem = compare_row(b, i, head);
        }
      }
    }
    return problem;
  }

 private:
  static size_t at(int64_t i) { return static_cast<size_t>(i); }

  [[nodiscard]] int32_t page_size() const { return setup_.cache == Cache::kPages ? 16 : kRowKeys; }
  [[nodiscard]] int32_t added(int32_t b) const {
    return setup_.appends ? cu_new_[at(b) + 1] - cu_new_[at(b)] : 0;
  }
  [[nodiscard]] bool by_row() const { return setup_.causal || setup_.window_left >= 0; }

  // Element (slot of sequence b, head) of a cache with `dim` columns.
  [[nodiscard]] int64_t offset(int32_t b, int64_t slot, int64_t head, int64_t dim) const {
    int64_t page = b;
    if (setup_.cache == Cache::kIndexedRows) page = rows_[at(b)];
    if (setup_.cache == Cache::kPages) page = table_[at(b * 3 + slot / 16)];
    const int64_t in_page = slot % page_size();
    if (setup_.layout == KvLayout::kHND) {
      return ((page * kHeadsKv + head) * page_size() + in_page) * dim;
    }
    return ((page * page_size() + in_page) * kHeadsKv + head) * dim;
  }

  void poison() {
    for (int32_t b = 0; b < kBatch; ++b) {
      for (int64_t slot = 0; slot < kRowKeys; ++slot) {
        if (slot >= leftpad_[at(b)] && slot < used_[at(b)]) continue;
        for (int64_t i = 0; i < kHeadsKv * kDim; ++i) {
          cache_k_.set(offset(b, slot, i / kDim, kDim) + i % kDim, NAN);
        }
        for (int64_t i = 0; i < kHeadsKv * kDimV; ++i) {
          cache_v_.set(offset(b, slot, i / kDimV, kDimV) + i % kDimV, NAN);
        }
      }
    }
  }

  void make_args() {
    args_.q = dense_tensor(std::as_const(q_).data(), DType::kF32, cu_q_.back(), kHeadsQ, kDim);
    args_.out = dense_tensor(out_.data(), DType::kF32, cu_q_.back(), kHeadsQ, kDimV);
    args_.softmax_lse.data = lse_.data();
    args_.batch_size = kBatch;
    args_.cache_seqlens = used_;
    args_.kv_cache = KvView::paged(cache_k_.data(), cache_v_.data(), setup_.dtype, setup_.layout,
                                   kCacheKeys / page_size(), page_size(), kHeadsKv, kDim, kDimV);
    if (setup_.cache == Cache::kIndexedRows) args_.cache_batch_idx = rows_;
    if (setup_.cache == Cache::kPages) {
      args_.block_table = table_;
      args_.max_pages = 3;
    }
    if (setup_.leftpad) args_.cache_leftpad = leftpad_;
    if (setup_.ragged) args_.cu_seqlens_q = cu_q_;
    if (setup_.appends) {
      const auto total = cu_new_.back();
      args_.k = dense_tensor(std::as_const(new_k_).data(), DType::kF32, total, kHeadsKv, kDim);
      args_.v = dense_tensor(std::as_const(new_v_).data(), DType::kF32, total, kHeadsKv, kDimV);
      if (setup_.ragged) args_.cu_seqlens_k_new = cu_new_;
    }
    if (setup_.rotation != Rotation::kNone) {
      args_.rotary_cos = cos_.data();
      args_.rotary_sin = sin_.data();
      args_.rotary_seqlen = kMaxPosition;
      args_.rotary_dim = kRotaryDim;
      args_.rotary_interleaved = setup_.rotation == Rotation::kInterleaved;
    }
    args_.causal = setup_.causal;
    args_.window_size_left = setup_.window_left;
    args_.softcap = setup_.softcap;
    args_.softmax_scale = 0.3f;
    if (setup_.alibi) args_.alibi_slopes = slopes_;
    if (setup_.sinks) args_.sinks = sinks_;
  }

  [[nodiscard]] double rotated(const Elements& list, int64_t row, int64_t d,
                               int64_t position) const {
    const double x = list.get(row * kDim + d);
    if (setup_.rotation == Rotation::kNone || d >= kRotaryDim) return x;
    constexpr int64_t kHalf = kRotaryDim / 2;
    const bool interleaved = setup_.rotation == Rotation::kInterleaved;
    const int64_t pair = interleaved ? d / 2 : d % kHalf;
    const bool first = interleaved ? d % 2 == 0 : d < kHalf;
    const int64_t mate = interleaved ? d ^ 1 : (d + kHalf) % kRotaryDim;
    const double c = cos_.get(position * kHalf + pair);
    const double s = sin_.get(position * kHalf + pair);
    const double y = list.get(row * kDim + mate);
    return first ? x * c - y * s : x * c + y * s;
  }

  void expect_cache() {
    want_k_ = cache_k_;
    want_v_ = cache_v_;
    for (int32_t b = 0; b < kBatch; ++b) {
      for (int32_t i = 0; i < added(b); ++i) {
        const int64_t slot = used_[at(b)] + i;
        for (int64_t head = 0; head < kHeadsKv; ++head) {
          const int64_t row = (cu_new_[at(b)] + i) * kHeadsKv + head;
          for (int64_t d = 0; d < kDim; ++d) {
            want_k_.set(offset(b, slot, head, kDim) + d,
                        static_cast<float>(rotated(new_k_, row, d, slot)));
          }
          for (int64_t d = 0; d < kDimV; ++d) {
            want_v_.set(offset(b, slot, head, kDimV) + d, new_v_.get(row * kDimV + d));
          }
        }
      }
    }
  }

  // One unit in the last place apart at most: rotation is rounded in f32 here, in double there.
  [[nodiscard]] std::string compare_cache(const Elements& got, const Elements& want,
                                          const char* name) const {
    const double bound = setup_.dtype == DType::kF32 ? 4e-7 : 0.01;
    for (int64_t i = 0; i < got.size(); ++i) {
      if (got.same_bits(want, i) || std::abs(got.get(i) - want.get(i)) <= bound) continue;
      return std::string("element ") + std::to_string(i) + " of the cached " + name + " is " +
             std::to_string(got.get(i)) + ", not " + std::to_string(want.get(i));
    }
    return "";
  }

  [[nodiscard]] double score(int32_t b, int32_t i, int32_t head, int64_t slot) const {
    const int64_t token = i - cu_q_[at(b)];
    const int64_t used = used_[at(b)] + added(b);
    const int64_t p = used - (cu_q_[at(b) + 1] - cu_q_[at(b)]) + token;  // as a slot
    if (setup_.causal && slot > p) return -kInf;
    if (setup_.window_left >= 0 && slot < p - setup_.window_left) return -kInf;
    const int64_t position = used_[at(b)] + (by_row() ? token : 0);
    double dot = 0.0;
    for (int64_t d = 0; d < kDim; ++d) {
      dot += rotated(q_, i * kHeadsQ + head, d, position) *
             want_k_.get(offset(b, slot, head / 2, kDim) + d);
    }
    double s = double{0.3f} * dot;
    if (setup_.softcap > 0) s = setup_.softcap * std::tanh(s / setup_.softcap);
    if (setup_.alibi) s -= slopes_[at(head)] * static_cast<double>(std::abs(p - slot));
    return s;
  }

  [[nodiscard]] std::string compare_row(int32_t b, int32_t i, int32_t head) const {
    const int64_t used = used_[at(b)] + added(b);
    double top = setup_.sinks ? sinks_[at(head)] : -kInf;
    std::vector<double> scores;
    for (int64_t slot = leftpad_[at(b)]; slot < used; ++slot) {
      scores.push_back(score(b, i, head, slot));
      top = std::max(top, scores.back());
    }
    double sum = setup_.sinks ? std::exp(sinks_[at(head)] - top) : 0.0;
    std::vector<double> row(kDimV, 0.0);
    for (size_t j = 0; j < scores.size(); ++j) {
      if (scores[j] == -kInf) continue;
      const double weight = std::exp(scores[j] - top);
      sum += weight;
      const int64_t first = offset(b, leftpad_[at(b)] + static_cast<int64_t>(j), head / 2, kDimV);
      for (int64_t d = 0; d < kDimV; ++d) row[at(d)] += weight * want_v_.get(first + d);
    }
    const std::string where = "sequence " + std::to_string(b) + ", row " + std::to_string(i) +
                              ", head " + std::to_string(head);
    const double lse = sum == 0.0 ? -kInf : top + std::log(sum);
    const double got_lse = lse_[at(head * cu_q_.back() + i)];
    if (got_lse != lse && !(std::abs(got_lse - lse) <= bound())) {
      return where + ": lse is " + std::to_string(got_lse) + ", not " + std::to_string(lse);
    }
    for (int64_t d = 0; d < kDimV; ++d) {
      const double want = sum == 0.0 ? 0.0 : row[at(d)] / sum;
      const double got = out_[at((i * kHeadsQ + head) * kDimV + d)];
      if (std::abs(got - want) <= bound()) continue;
      return where + ": out is " + std::to_string(got) + ", not " + std::to_string(want);
    }
    return "";
  }

  // Rounding of a rotated key to bf16 may differ by one unit, 0.4% of one of 16 products.
  [[nodiscard]] double bound() const { return setup_.dtype == DType::kF32 ? 1e-5 : 2e-3; }

  Setup setup_;
  std::vector<int32_t> used_ = {5, 0, 37};
  std::vector<int32_t> rows_ = {9, 0, 4};
  std::vector<int32_t> table_ = {7, 22, 1, 0, 29, 13, 2, 11, 5};
  std::vector<int32_t> cu_q_, cu_new_, leftpad_;
  std::vector<float> slopes_ = {0.1f, 0.02f, 0.3f, 0.0f};
  std::vector<float> sinks_ = {0.5f, -1.0f, 2.0f, 0.0f};
  Elements q_, new_k_, new_v_, cache_k_, cache_v_, cos_, sin_;
  Elements want_k_{DType::kF32, 0}, want_v_{DType::kF32, 0};
  std::vector<float> out_, lse_;
  FlashAttnKvCacheArgs args_;
};

std::vector<Setup> setups() {
  std::vector<Setup> list;
  for (const Cache cache : {Cache::kRows, Cache::kIndexedRows, Cache::kPages}) {
    for (const Rotation rotation : {Rotation::kNone, Rotation::kHalves, Rotation::kInterleaved}) {
      for (uint32_t bits = 0; bits < 32; ++bits) {
        Setup setup;
        setup.cache = cache;
        setup.rotation = rotation;
        setup.leftpad = (bits & 1u) != 0;
        setup.ragged = (bits & 2u) != 0;
        setup.causal = (bits & 4u) != 0;
        setup.window_left = (bits & 8u) != 0 ? 3 : -1;
        setup.dtype = (bits & 16u) != 0 ? DType::kBF16 : DType::kF32;
        setup.layout = bits % 3 == 0 ? KvLayout::kHND : KvLayout::kNHD;
        setup.softcap = bits % 5 == 0 ? 0.7f : 0.0f;
        setup.alibi = bits % 7 == 0;
        setup.sinks = bits % 4 == 1;
        list.push_back(setup);
        if (rotation != Rotation::kNone) continue;
        setup.appends = false;
        list.push_back(setup);
      }
    }
  }
  return list;
}

TEST_CASE("flash_attn_with_kvcache is append, rotation and attention: cpu, every ISA") {
  for (const std::string& isa : test::usable_isas()) {
    Context context = test::cpu_context(isa);
    for (const Setup& setup : setups()) {
      CAPTURE(isa);
      CAPTURE(describe(setup));
      CHECK(CacheCall(setup).run(context) == "");
    }
  }
}

TEST_CASE("flash_attn_with_kvcache is append, rotation and attention: reference") {
  ContextOptions options;
  options.backend = "reference";
  Context context;
  REQUIRE(Context::create(options, context).message() == "");
  for (const Setup& setup : setups()) {
    CAPTURE(describe(setup));
    CHECK(CacheCall(setup).run(context) == "");
  }
}

}  // namespace
}  // namespace attnrt
