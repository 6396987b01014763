// SPDX-License-Identifier: Apache-2.0
// flash_attn_with_kvcache over packed16 pages gives the bits it gives over rows, in out and in the
// cache that it appends to.
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "attnrt/flash_attn.hpp"
#include "tests/support/check.hpp"
#include "tests/support/elements.hpp"
#include "tests/support/problem.hpp"
#include "tests/support/random_cache.hpp"

namespace attnrt {
namespace {

using test::Elements;
using test::RandomCache;

constexpr int32_t kHeadsQ = 4;
constexpr int32_t kHeadsKv = 2;
constexpr int32_t kDim = 24;
constexpr int32_t kDimV = 40;
constexpr int32_t kPositions = 128;

Elements numbers(DType dtype, int64_t count, uint64_t stream) {
  Elements list(dtype, count);
  for (int64_t i = 0; i < count; ++i) {
    list.set(i, static_cast<float>(test::hashed(5, stream, i, 0)));
  }
  return list;
}

struct Call {
  std::vector<int32_t> used{5, 16, 0, 63}, pages{3, 7, 1, 0, 5, 2, 6, 4};
  std::vector<float> out = std::vector<float>(8 * kHeadsQ * kDimV);
  Elements q = numbers(DType::kF32, 8 * kHeadsQ * kDim, 1);
  Elements k = numbers(DType::kF32, 8 * kHeadsKv * kDim, 2);
  Elements v = numbers(DType::kF32, 8 * kHeadsKv * kDimV, 3);
  Elements cos = numbers(DType::kF32, kPositions* kDim / 2, 4);
  Elements sin = numbers(DType::kF32, kPositions* kDim / 2, 5);

  // Two query rows and two new keys a sequence.
  std::vector<float> run(Context& context, const KvView& kv) {
    FlashAttnKvCacheArgs args;
    args.batch_size = 4;
    args.q = dense_tensor(std::as_const(q).data(), DType::kF32, 8, kHeadsQ, kDim);
    args.k = dense_tensor(std::as_const(k).data(), DType::kF32, 8, kHeadsKv, kDim);
    args.v = dense_tensor(std::as_const(v).data(), DType::kF32, 8, kHeadsKv, kDimV);
    args.out = dense_tensor(static_cast<void*>(out.data()), DType::kF32, 8, kHeadsQ, kDimV);
    args.kv_cache = kv;
    args.cache_seqlens = used;
    args.block_table = pages;
    args.max_pages = 2;
    args.rotary_cos = cos.data();
    args.rotary_sin = sin.data();
    args.rotary_seqlen = kPositions;
    args.rotary_dim = kDim;
    args.causal = true;
    REQUIRE(flash_attn_with_kvcache(context, args).message() == "");
    return out;
  }
};

TEST_CASE("flash_attn_with_kvcache: packed16 gives the bits that rows give") {
  for (const std::string& isa : test::usable_isas()) {
    Context context = test::cpu_context(isa);
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      CAPTURE(isa);
      CAPTURE(std::string(to_string(dtype)));
      test::CacheShape shape;
      shape.dtype = dtype;
      shape.num_pages = 8;
      shape.page_size = 64;
      shape.heads = kHeadsKv;
      shape.head_dim = kDim;
      shape.head_dim_v = kDimV;
      RandomCache rows(shape, 1);
      for (int64_t slot = 0; slot < rows.view.num_tokens; ++slot) {
        for (int64_t head = 0; head < kHeadsKv; ++head) {
          for (int64_t d = 0; d < kDim; ++d)
            rows.set_bits(false, slot, head, d, static_cast<uint32_t>(0x3a80 + d));
          for (int64_t d = 0; d < kDimV; ++d)
            rows.set_bits(true, slot, head, d, static_cast<uint32_t>(0x3b00 + slot % 64));
        }
      }
      shape.layout = KvLayout::kPacked16;
      RandomCache groups(shape, 2);
      REQUIRE(convert_kv(context, rows.view, groups.view).message() == "");
      const std::vector<float> want = Call().run(context, rows.view);
      const std::vector<float> got = Call().run(context, groups.view);
      CHECK(got == want);

      shape.layout = KvLayout::kNHD;
      RandomCache back(shape, 3);
      REQUIRE(convert_kv(context, groups.view, back.view).message() == "");
      const int64_t slots[] = {3 * 64 + 5, 3 * 64 + 6, 1 * 64 + 16, 1 * 64 + 17,
                               5 * 64 + 0, 5 * 64 + 1, 6 * 64 + 63, 4 * 64 + 0};
      for (const int64_t slot : slots) {
        for (int64_t head = 0; head < kHeadsKv; ++head) {
          for (int64_t d = 0; d < kDim; ++d) {
            CHECK(back.bits(false, slot, head, d) == rows.bits(false, slot, head, d));
          }
          for (int64_t d = 0; d < kDimV; ++d) {
            CHECK(back.bits(true, slot, head, d) == rows.bits(true, slot, head, d));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace attnrt
