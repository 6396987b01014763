// SPDX-License-Identifier: Apache-2.0
// NaN, infinities and denormals: they reach the rows that see them, all of them, and no other.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "tests/backends/cpu/kernel_case.hpp"

namespace attnrt::test {
namespace {

constexpr double kGarbage[] = {kNaN, kInf, -kInf, 1e30};

KernelShape small_shape(DType dtype, DType q_dtype = DType::kF32) {
  KernelShape s;
  s.tokens = 30;
  s.group = 2;
  s.head_dim = 40;
  s.head_dim_v = 24;
  s.kv_len = 100;
  s.window_left = 60;
  s.kv_dtype = dtype;
  s.q_dtype = q_dtype;
  return s;
}

// Rows of `token`, as floats.
std::vector<double> row_of(const KernelCase& c, const KernelOutput& out, int32_t token) {
  const KernelShape& s = c.shape;
  const int32_t width = s.heads_q() * s.head_dim_v;
  std::vector<double> row;
  for (int32_t i = 0; i < width; ++i) {
    row.push_back(get(s.out_dtype, out.out.data(), int64_t{token} * width + i));
  }
  return row;
}

bool all_nan(const std::vector<double>& row) {
  for (const double x : row) {
    if (!std::isnan(x)) return false;
  }
  return true;
}

TEST_CASE("garbage in K or V reaches exactly the rows that see its key") {
  for (const KernelShape& shape :
       {small_shape(DType::kF32), small_shape(DType::kBF16), small_shape(DType::kF16),
        small_shape(DType::kBF16, DType::kBF16)}) {
    const KernelCase clean(shape);
    for (const int32_t key : {5, 63, 64, 70, 99}) {
      for (const double garbage : kGarbage) {
        KernelCase k_dirty(shape);
        KernelCase v_dirty(shape);
        for (int32_t d = 0; d < shape.head_dim; ++d) k_dirty.set_k(key, 0, d, garbage);
        for (int32_t d = 0; d < shape.head_dim_v; ++d) v_dirty.set_v(key, 0, d, garbage);
        CAPTURE(key);
        CAPTURE(garbage);
        for (const cpu::KernelTable* table : runnable_tables()) {
          CAPTURE(std::string(table->name));
          const KernelOutput want = clean.run(*table);
          const KernelOutput k_got = k_dirty.run(*table);
          const KernelOutput v_got = v_dirty.run(*table);
          for (int32_t token = 0; token < shape.tokens; ++token) {
            if (!shape.sees(token, key)) {
              CHECK(row_of(clean, want, token) == row_of(clean, k_got, token));
              CHECK(row_of(clean, want, token) == row_of(clean, v_got, token));
            } else if (std::isnan(garbage)) {
              CHECK(all_nan(row_of(clean, k_got, token)));
              CHECK(all_nan(row_of(clean, v_got, token)));
            } else {
              CHECK(row_of(clean, want, token) != row_of(clean, v_got, token));
            }
          }
        }
      }
    }
  }
}

void check_nan_in_q(DType q_dtype) {
  const KernelShape shape = small_shape(DType::kBF16, q_dtype);
  const KernelCase clean(shape);
  KernelCase dirty(shape);
  put(q_dtype, dirty.q.data(), dirty.q_at(7, 0) + 3, kNaN);
  put(q_dtype, dirty.q.data(), dirty.q_at(7, 1), kNaN);
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    const KernelOutput want = clean.run(*table);
    const KernelOutput got = dirty.run(*table);
    for (int32_t token = 0; token < shape.tokens; ++token) {
      if (token == 7) {
        CHECK(all_nan(row_of(clean, got, token)));
        CHECK(std::isnan(got.lse[token * 2]));
      } else {
        CHECK(row_of(clean, want, token) == row_of(clean, got, token));
      }
    }
  }
}

TEST_CASE("a NaN in q makes its own rows NaN, also where every score is NaN") {
  check_nan_in_q(DType::kF32);
  check_nan_in_q(DType::kBF16);
}

TEST_CASE("a NaN in an early split survives the later ones, in the task and in a merge") {
  KernelShape s;
  s.kv_len = 1300;
  s.q_dtype = s.kv_dtype = DType::kBF16;
  KernelCase c(s);
  c.set_k(2, 0, 0, kNaN);
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    CHECK(all_nan(row_of(c, c.run(*table), 0)));
    PartialBuffer partial(3, 1, s.head_dim_v);
    const cpu::PartialTarget target = partial.target();
    const KernelOutput to = c.output();
    cpu::AttendTask task = c.task(0, 1, to);
    task.partial = &target;
    c.kernel (*table)(task);
    const int32_t splits = 3;
    std::vector<float> scratch(64);
    cpu::MergeTaskRows merge{&target,  &splits,       1, 1, 0, 1, 1, s.head_dim_v,
                             task.out, scratch.data()};
    table->merge(merge);
    CHECK(all_nan(row_of(c, to, 0)));
  }
}

TEST_CASE("denormal values are ordinary numbers") {
  KernelShape s;
  s.kv_len = 70;
  KernelCase c(s);
  for (int32_t key = 0; key < s.kv_len; ++key) {
    for (int32_t d = 0; d < s.head_dim_v; ++d) c.set_v(key, 0, d, 0x1p-130);
  }
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    const KernelOutput got = c.run(*table);
    for (int32_t d = 0; d < s.head_dim_v; ++d) {
      CHECK(get(DType::kF32, got.out.data(), d) == doctest::Approx(0x1p-130).epsilon(1e-3));
    }
  }
}

TEST_CASE("sinks far above and far below every score do not overflow") {
  for (const float sink : {300.0f, -300.0f, -std::numeric_limits<float>::infinity()}) {
    KernelShape s;
    s.kv_len = 40;
    s.sinks = true;
    KernelCase c(s);
    c.sinks[0] = sink;
    std::vector<double> row;
    const double lse = c.expected(0, 0, row);
    for (const cpu::KernelTable* table : runnable_tables()) {
      CAPTURE(std::string(table->name));
      const KernelOutput got = c.run(*table);
      CHECK(got.lse[0] == doctest::Approx(lse));
      CHECK(get(DType::kF32, got.out.data(), 0) == doctest::Approx(row[0]));
    }
  }
}

TEST_CASE("every 16-bit pattern widens and narrows as the scalar functions say") {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    std::vector<uint16_t> bits(65536);
    for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
    std::vector<float> wide(bits.size());
    std::vector<uint16_t> back(bits.size());
    std::vector<float> scratch(bits.size());
    for (const cpu::KernelTable* table : runnable_tables()) {
      CAPTURE(std::string(table->name));
      const cpu::StoreTask widen{bits.data(), dtype, 0,       wide.data(), DType::kF32,   0,
                                 1,           65536, nullptr, 0,           scratch.data()};
      table->store(widen);
      // Between two 16-bit numbers, so that rounding has something to decide.
      std::vector<float> between(wide);
      for (float& x : between) x *= 1.00146484375f;
      const cpu::StoreTask narrow{between.data(), DType::kF32, 0, back.data(),   dtype, 0, 1,
                                  65536,          nullptr,     0, scratch.data()};
      table->store(narrow);
      int wrong = 0;
      for (size_t i = 0; i < bits.size(); ++i) {
        const bool bf16 = dtype == DType::kBF16;
        const float want = bf16 ? bf16_to_f32(bits[i]) : f16_to_f32(bits[i]);
        const uint16_t rounded = bf16 ? f32_to_bf16(between[i]) : f32_to_f16(between[i]);
        const float got = bf16 ? bf16_to_f32(back[i]) : f16_to_f32(back[i]);
        const bool same = std::isnan(want) ? std::isnan(wide[i]) && std::isnan(got)
                                           : want == wide[i] && rounded == back[i];
        if (!same) ++wrong;
      }
      CHECK(wrong == 0);
    }
  }
}

}  // namespace
}  // namespace attnrt::test
