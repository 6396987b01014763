// SPDX-License-Identifier: Apache-2.0
// What must not change a bit of a row on one table: the rows beside it, pages and layout, which
// heads are walked together, and whether splits are folded in the task or merged from partials.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "tests/backends/cpu/kernel_case.hpp"

namespace attnrt::test {
namespace {

bool same_bits(const KernelCase& c, const KernelOutput& a, const KernelOutput& b) {
  const size_t states = static_cast<size_t>(c.shape.tokens * c.shape.heads_q());
  const size_t out_bytes = states * static_cast<size_t>(c.shape.head_dim_v) *
                           static_cast<size_t>(size_of(c.shape.out_dtype));
  return std::memcmp(a.out.data(), b.out.data(), out_bytes) == 0 &&
         std::memcmp(a.lse, b.lse, states * sizeof(float)) == 0;
}

std::vector<KernelShape> shapes() {
  std::vector<KernelShape> list;
  constexpr DType kPairs[][2] = {{DType::kF32, DType::kF32},
                                 {DType::kF32, DType::kBF16},
                                 {DType::kBF16, DType::kBF16},
                                 {DType::kF32, DType::kF16}};
  for (const auto& dtypes : kPairs) {
    for (const int32_t dim : {7, 64, 80, 128}) {
      KernelShape s;
      s.tokens = 40;
      s.group = dim == 7 ? 3 : 2;
      s.heads_kv = 3;
      s.head_dim = s.head_dim_v = dim;
      s.kv_len = 1100;
      s.q_dtype = dtypes[0];
      s.kv_dtype = dtypes[1];
      s.q_start = dim == 80 ? 480 : -1;
      s.window_left = dim == 64 ? 300 : -1;
      s.window_right = dim == 80 ? 30 : 0;
      s.softcap = dim == 128 ? 3.0f : 0.0f;
      s.alibi = dim == 80;
      s.sinks = dim == 7;
      list.push_back(s);
    }
  }
  return list;
}

TEST_CASE("all rows at once, in pieces of any height, or token by token") {
  for (const KernelShape& shape : shapes()) {
    const KernelCase c(shape);
    CAPTURE(shape.text());
    for (const cpu::KernelTable* table : runnable_tables()) {
      CAPTURE(std::string(table->name));
      const KernelOutput whole = c.run(*table);
      for (const int32_t step : {1, 2, 5, 17}) {
        const KernelOutput pieces = c.output();
        for (int32_t token = 0; token < shape.tokens; token += step) {
          c.kernel (*table)(c.task(token, std::min(token + step, shape.tokens), pieces));
        }
        CHECK(same_bits(c, whole, pieces));
      }
    }
  }
}

TEST_CASE("pages of any size, packed, heads first, one head at a time") {
  for (KernelShape shape : shapes()) {
    const KernelCase c(shape);
    CAPTURE(shape.text());
    for (const cpu::KernelTable* table : runnable_tables()) {
      CAPTURE(std::string(table->name));
      const KernelOutput whole = c.run(*table);
      for (const int32_t page_size : {0, 1, 7, 64, 1000}) {
        shape.page_size = page_size;
        shape.heads_first = page_size == 7 || page_size == 64;
        const KernelCase other(shape);
        CHECK(same_bits(c, whole, other.run(*table)));
      }
      const KernelOutput heads = c.output();
      cpu::AttendTask task = c.task(0, shape.tokens, heads);
      for (int32_t head = 0; head < shape.heads_kv; ++head) {
        task.kv_head_begin = head;
        task.kv_head_end = head + 1;
        c.kernel (*table)(task);
      }
      CHECK(same_bits(c, whole, heads));
    }
  }
}

// Every split as a task of its own, then merged: what an executor does with a long sequence.
TEST_CASE("partials merged in ascending order are the fold inside the task") {
  for (const KernelShape& shape : shapes()) {
    const KernelCase c(shape);
    CAPTURE(shape.text());
    const int32_t splits = (shape.kv_len + kSplitKeys - 1) / kSplitKeys;
    const int64_t states = int64_t{shape.tokens} * shape.heads_q();
    for (const cpu::KernelTable* table : runnable_tables()) {
      CAPTURE(std::string(table->name));
      const KernelOutput whole = c.run(*table);
      PartialBuffer first(1, states, shape.head_dim_v);
      PartialBuffer rest(splits - 1, states, shape.head_dim_v);
      for (PartialBuffer* buffer : {&first, &rest}) {  // splits that no row sees are not run
        std::fill(buffer->ref.begin(), buffer->ref.end(), -std::numeric_limits<float>::infinity());
        std::fill(buffer->sum.begin(), buffer->sum.end(), 0.0f);
      }
      const cpu::PartialTarget targets[] = {first.target(), rest.target()};
      const KernelOutput merged = c.output();
      const cpu::AttendTask all = c.task(0, shape.tokens, merged);
      for (int32_t split = 0; split < splits; ++split) {
        cpu::AttendTask task = all;
        task.key_begin = std::max(all.key_begin, split * kSplitKeys);
        task.key_end = std::min(all.key_end, (split + 1) * kSplitKeys);
        task.partial = &targets[split == 0 ? 0 : 1];
        task.partial_first_split = split == 0 ? 0 : 1;
        if (task.key_begin < task.key_end) c.kernel (*table)(task);
      }
      const int32_t counts[] = {1, splits - 1};
      std::vector<float> scratch(static_cast<size_t>(shape.head_dim_v));
      cpu::MergeTaskRows merge{};
      merge.partials = targets;
      merge.num_splits = counts;
      merge.num_targets = 2;
      merge.tokens = shape.tokens;
      merge.head_end = shape.heads_q();
      merge.heads_q = shape.heads_q();
      merge.head_dim_v = shape.head_dim_v;
      merge.out = c.target(0, merged);
      merge.scratch = scratch.data();
      table->merge(merge);
      CHECK(same_bits(c, whole, merged));
    }
  }
}

TEST_CASE("a split whose keys a row does not see leaves it the empty state") {
  KernelShape s;
  s.tokens = 2;
  s.kv_len = 600;
  s.window_left = 87;  // position 598 sees from 511 on, position 599 nothing of the first split
  const KernelCase c(s);
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    PartialBuffer partial(2, 2, s.head_dim_v);
    const cpu::PartialTarget target = partial.target();
    const KernelOutput unused = c.output();
    cpu::AttendTask task = c.task(0, 2, unused);
    task.partial = &target;
    c.kernel (*table)(task);
    CHECK(partial.sum[0] == 1.0f);
    CHECK(partial.sum[1] == 0.0f);
    CHECK(partial.ref[1] == -kInf);
    for (int32_t d = 0; d < s.head_dim_v; ++d) {
      CHECK(partial.acc[static_cast<size_t>(s.head_dim_v + d)] == 0.0f);
    }
  }
}

}  // namespace
}  // namespace attnrt::test
