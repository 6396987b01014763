// SPDX-License-Identifier: Apache-2.0
// Append and merge of finished results, emulated, against the reference backend.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/elements.hpp"
#include "tests/support/problem.hpp"
#include "tests/support/simt_attend.hpp"

namespace attnrt::test {
namespace {

constexpr int64_t kTokens = 5;
constexpr int32_t kHeads = 3;
constexpr int32_t kDim = 24;
constexpr int32_t kDimV = 17;
constexpr int64_t kPages = 3;
constexpr int32_t kPageSize = 4;

struct AppendCase {
  DType source;
  DType cache;
  KvLayout layout;
  int32_t rotary_dim;
  bool interleaved;
};

Context reference_context() {
  Context context;
  ContextOptions options;
  options.backend = "reference";
  REQUIRE(Context::create(options, context).ok());
  return context;
}

Elements filled(DType dtype, int64_t count, uint64_t stream) {
  Elements list(dtype, count);
  for (int64_t i = 0; i < count; ++i) list.set(i, static_cast<float>(hashed(7, stream, i, 0)));
  return list;
}

AppendPlace place_of(const AppendTask& task, int64_t token) {
  const auto i = static_cast<size_t>(token);
  const std::vector<int32_t> unrotated(task.args->slot_mapping.size(), 0);
  return {task.args->slot_mapping[i],
          task.args->rotary_positions.empty() ? unrotated[i] : task.args->rotary_positions[i]};
}

void check_append(const AppendCase& test_case) {
  CAPTURE(to_string(test_case.cache));
  const Elements k = filled(test_case.source, kTokens * kHeads * kDim, 1);
  const Elements v = filled(test_case.source, kTokens * kHeads * kDimV, 2);
  const Elements cos = filled(DType::kF32, 9 * kDim, 3);
  const Elements sin = filled(DType::kF32, 9 * kDim, 4);
  const std::vector<int64_t> slots = {11, -1, 0, 6, 3};
  const std::vector<int32_t> positions = {8, 0, 3, 1, 5};
  std::vector<Elements> caches;
  caches.reserve(4);  // references stay
  for (const bool emulated : {false, true}) {
    Elements& cache_k = caches.emplace_back(test_case.cache, kPages * kPageSize * kHeads * kDim);
    Elements& cache_v = caches.emplace_back(test_case.cache, kPages * kPageSize * kHeads * kDimV);
    AppendArgs args;
    args.k = dense_tensor(k.data(), test_case.source, kTokens, kHeads, kDim);
    args.v = dense_tensor(v.data(), test_case.source, kTokens, kHeads, kDimV);
    args.kv = test_case.layout == KvLayout::kPacked
                  ? KvView::packed(cache_k.data(), cache_v.data(), test_case.cache,
                                   kPages * kPageSize, kHeads, kDim, kDimV)
                  : KvView::paged(cache_k.data(), cache_v.data(), test_case.cache, test_case.layout,
                                  kPages, kPageSize, kHeads, kDim, kDimV);
    args.slot_mapping = slots;
    if (test_case.rotary_dim > 0) {
      args.rotary = {cos.data(), sin.data(),           DType::kF32,
                     9,          test_case.rotary_dim, test_case.interleaved};
      args.rotary_positions = positions;
    }
    if (!emulated) {
      Context context = reference_context();
      const Status status = append_kv(context, args);
      REQUIRE_MESSAGE(status.ok(), status.message());
      continue;
    }
    SimtMemory memory;
    for (const Elements* list : {&k, &v}) {
      memory.readable(list->data(), static_cast<size_t>(list->size() * size_of(args.k.dtype)));
    }
    for (const Elements* list : {&cos, &sin}) {
      memory.readable(list->data(), static_cast<size_t>(list->size()) * 4);
    }
    name_cache(args.kv, true, memory);
    AppendTask task;
    task.args = &args;
    task.total_new = kTokens;
    task.place = place_of;
    CHECK(simt_append(task, memory) == "");
  }
  // f32 arithmetic against double: a rotated element may round to the neighbour.
  const float ulp = test_case.cache == DType::kBF16 ? 0x1p-8f : 0x1p-11f;
  const float tolerance = test_case.rotary_dim == 0 ? 0.0f : 2.0f * ulp;
  for (size_t half = 0; half < 2; ++half) {
    for (int64_t i = 0; i < caches[half].size(); ++i) {
      const float want = caches[half].get(i);
      const float got = caches[half + 2].get(i);
      if (caches[half].same_bits(caches[half + 2], i)) continue;
      CHECK(std::fabs(got - want) <= tolerance);
    }
  }
}

}  // namespace

TEST_SUITE("CUDA append and merge kernels, emulated") {
  TEST_CASE("every layout, conversion and rotation") {
    for (const KvLayout layout : {KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked}) {
      check_append({DType::kBF16, DType::kBF16, layout, 0, false});
      check_append({DType::kF32, DType::kF16, layout, 16, false});
      check_append({DType::kF16, DType::kBF16, layout, 24, true});
    }
  }

  TEST_CASE("finished results merge as in the reference, empty ones and sinks included") {
    constexpr int64_t kRows = 4;
    constexpr float kInf = std::numeric_limits<float>::infinity();
    const auto shape = kRows * kHeads;
    const Elements a = filled(DType::kF16, shape * kDimV, 5);
    const Elements b = filled(DType::kF32, shape * kDimV, 6);
    std::vector<float> lse_a;
    std::vector<float> lse_b;
    for (int64_t i = 0; i < shape; ++i) {
      lse_a.push_back(i % 3 == 0 ? -kInf : static_cast<float>(i) - 5.0f);
      lse_b.push_back(i % 2 == 0 ? -kInf : 1.5f);
    }
    const std::vector<float> sinks = {0.5f, -kInf, 3.0f};
    const StateView states[] = {
        {dense_tensor(a.data(), DType::kF16, kRows, kHeads, kDimV), lse_a.data()},
        {dense_tensor(b.data(), DType::kF32, kRows, kHeads, kDimV), lse_b.data()}};
    for (const bool with_sinks : {false, true}) {
      Elements want(DType::kF32, shape * kDimV);
      Elements got(DType::kF32, shape * kDimV);
      std::vector<float> lse_want(static_cast<size_t>(shape));
      std::vector<float> lse_got(static_cast<size_t>(shape));
      MergeTask task;
      task.states = states;
      task.sinks = with_sinks ? sinks.data() : nullptr;
      task.out = dense_tensor(want.data(), DType::kF32, kRows, kHeads, kDimV);
      task.lse.data = lse_want.data();
      task.lse.order = LseOrder::kTokensFirst;
      Context context = reference_context();
      REQUIRE(merge_states(context, task.states, task.out, task.lse,
                           with_sinks ? std::span<const float>(sinks) : std::span<const float>())
                  .ok());
      task.out.data = got.data();
      task.lse.data = lse_got.data();
      SimtMemory memory;
      memory.readable(a.data(), static_cast<size_t>(a.size()) * 2);
      memory.readable(b.data(), static_cast<size_t>(b.size()) * 4);
      for (const std::span<const float> list :
           {std::span<const float>(lse_a), std::span<const float>(lse_b),
            std::span<const float>(sinks)}) {
        memory.readable(list.data(), list.size_bytes());
      }
      memory.writable(got.data(), static_cast<size_t>(got.size()) * 4);
      memory.writable(lse_got.data(), lse_got.size() * 4);
      CHECK(simt_merge(task, memory) == "");
      for (int64_t i = 0; i < got.size(); ++i) {
        CHECK(got.get(i) == doctest::Approx(want.get(i)).epsilon(1e-5));
      }
      for (size_t i = 0; i < lse_got.size(); ++i) {
        const bool same = lse_got[i] == lse_want[i] || std::fabs(lse_got[i] - lse_want[i]) < 1e-5f;
        CHECK(same);
      }
    }
  }
}

}  // namespace attnrt::test
