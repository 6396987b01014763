// SPDX-License-Identifier: Apache-2.0
// Single tasks through every table that this CPU can run, against a double-precision loop, on
// shapes that sit on edges; all buffers end at a page that faults.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/backends/cpu/kernel_case.hpp"

namespace attnrt::test {
namespace {

constexpr DType kDTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

// Rounding of the output dtype, and f32 arithmetic on scores of a few units; without the rounding
// of weights.
double bound_of(DType out, double value) {
  const double unit = out == DType::kF32 ? 0x1p-24 : out == DType::kBF16 ? 0x1p-8 : 0x1p-11;
  return 4e-6 + 1.01 * unit * std::abs(value);
}

// The largest error over its bound, of out and lse; 1 is the limit.
double worst_ratio(const KernelCase& c, const KernelOutput& got, bool rounds_weights = false) {
  const KernelShape& s = c.shape;
  double worst = 0.0;
  std::vector<double> row;
  std::vector<double> mean_abs(static_cast<size_t>(s.head_dim_v));
  for (int32_t token = 0; token < s.tokens; ++token) {
    for (int32_t head = 0; head < s.heads_q(); ++head) {
      const int64_t state = int64_t{token} * s.heads_q() + head;
      const double lse = c.expected(token, head, row);
      const double lse_got = got.lse[state];
      if (rounds_weights) c.expected(token, head, mean_abs, /*absolute=*/true);
      if (lse != lse_got) {
        const double error = std::abs(lse_got - lse) / (1e-5 * std::max(1.0, std::abs(lse)));
        worst = std::isnan(error) ? kInf : std::max(worst, error);
      }
      for (int32_t d = 0; d < s.head_dim_v; ++d) {
        const double want = row[static_cast<size_t>(d)];
        const double x = get(s.out_dtype, got.out.data(), state * s.head_dim_v + d);
        const double weights = 0x1p-8 * mean_abs[static_cast<size_t>(d)];
        const double error = std::abs(x - want) / (bound_of(s.out_dtype, want) + weights);
        worst = std::isnan(error) ? kInf : std::max(worst, error);
      }
    }
  }
  return worst;
}

void check_shape(const KernelShape& shape) {
  const KernelCase c(shape);
  CAPTURE(shape.text());
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    CHECK(worst_ratio(c, c.run(*table), c.rounds_weights(*table)) <= 1.0);
  }
}

// Heights of every register tile and some more; keys from one to beyond two splits.
constexpr int32_t kRows[][2] = {{1, 1}, {1, 2}, {1, 3},  {1, 4},  {5, 1}, {3, 2},
                                {1, 7}, {2, 4}, {13, 1}, {20, 1}, {5, 8}, {60, 1}};
constexpr int32_t kKeys[] = {1, 63, 64, 65, 130, 511, 513, 1100};
constexpr int32_t kPages[] = {0, 1, 7, 16, 64};

TEST_CASE("every table matches the double-precision loop on every head dim and dtype") {
  int n = 0;
  for (const int32_t dim : {1, 7, 16, 40, 64, 80, 128}) {
    for (const DType dtype : kDTypes) {
      for (const auto& rows : kRows) {
        KernelShape s;
        s.tokens = rows[0];
        s.group = rows[1];
        s.heads_kv = 1 + n % 3;
        s.head_dim = dim;
        s.head_dim_v = n % 5 == 0 ? (dim * 3 + 1) / 2 : dim;
        s.kv_len = std::max(s.tokens, kKeys[n % 8]);
        s.page_size = kPages[n % 5];
        s.heads_first = s.page_size != 0 && n % 2 == 0;
        s.window_right = n % 4 == 3 ? -1 : 0;
        s.window_left = n % 7 == 2 ? 90 : -1;
        s.kv_dtype = dtype;
        s.q_dtype = n % 2 == 0 ? dtype : kDTypes[n % 3];
        s.out_dtype = kDTypes[n / 3 % 3];
        s.seed = static_cast<uint32_t>(++n);
        check_shape(s);
      }
    }
  }
}

TEST_CASE("latent attention: V is the first columns of K") {
  for (const DType dtype : kDTypes) {
    KernelShape s;
    s.tokens = 2;
    s.group = 16;
    s.head_dim = 576;
    s.head_dim_v = 512;
    s.kv_len = 150;
    s.v_is_k = true;
    s.kv_dtype = dtype;
    check_shape(s);
    s.q_dtype = dtype;
    check_shape(s);
  }
}

TEST_CASE("soft cap, ALiBi, sinks and windows") {
  for (int n = 0; n < 32; ++n) {
    KernelShape s;
    s.tokens = 9;
    s.group = 4;
    s.heads_kv = 2;
    s.kv_len = 700;
    s.softcap = (n & 1) != 0 ? 2.0f : 0.0f;
    s.alibi = (n & 2) != 0;
    s.sinks = (n & 4) != 0;
    s.window_left = (n & 8) != 0 ? 5 : -1;
    s.window_right = (n & 16) != 0 ? 3 : 0;
    s.kv_dtype = DType::kBF16;
    check_shape(s);
    s.q_dtype = DType::kBF16;
    check_shape(s);
  }
}

TEST_CASE("rows without keys, before the first key and beyond the last") {
  for (const bool sinks : {false, true}) {
    KernelShape s;
    s.tokens = 12;
    s.group = 2;
    s.kv_len = 6;
    s.q_start = 4;
    s.window_left = 2;
    s.sinks = sinks;
    check_shape(s);
    s.kv_len = 0;
    check_shape(s);
  }
}

TEST_CASE("lse in base 2, and +inf for rows without keys where asked for") {
  KernelShape s;
  s.tokens = 3;
  s.kv_len = 1;
  s.q_start = 0;
  s.window_left = 1;
  const KernelCase c(s);
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    const KernelOutput natural = c.run(*table);
    const KernelOutput to = c.output();
    cpu::AttendTask task = c.task(0, 3, to);
    task.out.lse_base = LseBase::kTwo;
    task.out.lse_empty = LseEmpty::kPlusInf;
    c.kernel (*table)(task);
    CHECK(to.lse[0] == doctest::Approx(natural.lse[0] * 1.4426950408889634));
    CHECK(natural.lse[2] == -kInf);
    CHECK(to.lse[2] == kInf);
    CHECK(get(DType::kF32, to.out.data(), 2 * s.head_dim_v) == 0.0);
  }
}

TEST_CASE("huge scores, falling maxima and equal values stay exact") {
  KernelShape s;
  s.tokens = 2;
  s.kv_len = 300;
  s.window_right = -1;
  KernelCase c(s);
  for (int32_t key = 0; key < s.kv_len; ++key) {
    for (int32_t d = 0; d < s.head_dim; ++d) {
      c.set_v(key, 0, d, 0.1);
      c.set_k(key, 0, d, d == 0 ? 1e20 * (150 - key) : 0.0);
    }
  }
  put(DType::kF32, c.q.data(), 0, 1e10);
  put(DType::kF32, c.q.data(), s.head_dim, -1e10);
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    const KernelOutput got = c.run(*table);
    for (int32_t i = 0; i < 2 * s.head_dim_v; ++i) {
      CHECK(get(DType::kF32, got.out.data(), i) == 0.1f);
    }
    CHECK(std::isfinite(got.lse[0]));
  }
}

// Rotation of q as it is read: the same task with q rotated beforehand.
TEST_CASE("rotary on q, halves and interleaved, at each position or at one") {
  KernelShape s;
  s.tokens = 3;
  s.group = 2;
  s.kv_len = 20;
  for (int n = 0; n < 4; ++n) {
    const bool interleaved = (n & 1) != 0;
    const bool constant = (n & 2) != 0;
    const KernelCase plain(s);
    KernelCase rotated(s);
    std::vector<float> cos(20 * 20);
    std::vector<float> sin(20 * 20);
    for (size_t i = 0; i < cos.size(); ++i) {
      cos[i] = static_cast<float>(std::cos(0.1 * static_cast<double>(i)));
      sin[i] = static_cast<float>(std::sin(0.1 * static_cast<double>(i)));
    }
    for (int32_t token = 0; token < s.tokens; ++token) {
      for (int32_t head = 0; head < s.group; ++head) {
        const int32_t position = constant ? 5 : s.first_position() + token;
        for (int32_t i = 0; i < 20; ++i) {
          const int64_t a = plain.q_at(token, head) + (interleaved ? 2 * i : i);
          const int64_t b = a + (interleaved ? 1 : 20);
          const auto at = static_cast<size_t>(position * 20 + i);
          const double x = get(DType::kF32, plain.q.data(), a);
          const double y = get(DType::kF32, plain.q.data(), b);
          put(DType::kF32, rotated.q.data(), a, x * cos[at] - y * sin[at]);
          put(DType::kF32, rotated.q.data(), b, y * cos[at] + x * sin[at]);
        }
      }
    }
    const RotaryView view{cos.data(), sin.data(), DType::kF32, 20, 40, interleaved};
    for (const cpu::KernelTable* table : runnable_tables()) {
      CAPTURE(std::string(table->name));
      const KernelOutput to = plain.output();
      cpu::AttendTask task = plain.task(0, s.tokens, to);
      task.rotary_q = &view;
      task.rotary_q_constant = constant;
      task.rotary_q_base = 5;
      plain.kernel (*table)(task);
      CHECK(worst_ratio(rotated, to) <= 1.0);
    }
  }
}

}  // namespace
}  // namespace attnrt::test
