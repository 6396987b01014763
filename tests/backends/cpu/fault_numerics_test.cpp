// SPDX-License-Identifier: Apache-2.0
// Numbers at the edges, on every ISA. Tests carry the number of the fault that they stand for.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "tests/backends/cpu/fault_shape.hpp"
#include "tests/support/check.hpp"

namespace attnrt {
namespace {

using test::Output;
using test::Problem;
using test::ProblemShape;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr float kInfinityF = std::numeric_limits<float>::infinity();

#if defined(__x86_64__)
constexpr unsigned kFlushing = 0x8040;  // MXCSR: FTZ and DAZ
// Without the exceptions that have happened: they are no settings.
unsigned float_settings() { return _mm_getcsr() & ~0x3fu; }
void set_float_settings(unsigned settings) { _mm_setcsr(settings); }
#elif defined(__aarch64__)
constexpr unsigned kFlushing = 1u << 24;  // FPCR: FZ
unsigned float_settings() {
  uint64_t settings;
  __asm__ volatile("mrs %0, fpcr" : "=r"(settings));
  return static_cast<unsigned>(settings);
}
void set_float_settings(unsigned settings) {
  __asm__ volatile("msr fpcr, %0" : : "r"(uint64_t{settings}) : "memory");
}
#endif

// q = (1, 0, 0 ..) and K = (score, 0, 0 ..): scores are what score(key) says.
Problem with_scores(ProblemShape shape, const std::function<double(int32_t)>& score) {
  shape.spec.softmax_scale = 1.0f;
  Problem problem(shape);
  for (int32_t d = 0; d < shape.spec.head_dim; ++d) {
    for (int32_t t = 0; t < shape.sequences[0].q_len; ++t) {
      for (int32_t h = 0; h < shape.spec.num_heads_q; ++h) {
        problem.set_q(0, t, h, d, d == 0 ? 1.0 : 0.0);
      }
    }
    for (int32_t key = 0; key < shape.sequences[0].kv_len; ++key) {
      for (int32_t h = 0; h < shape.spec.num_heads_kv; ++h) {
        problem.set_k(0, key, h, d, d == 0 ? score(key) : 0.0);
      }
    }
  }
  return problem;
}

// Causal rows before token `first` keep their bits, the others follow the reference, and so does
// the other sequence, which sees none of it.
void check_reach(const ProblemShape& shape, int32_t first,
                 const std::function<void(Problem&)>& spoil) {
  const Problem clean(shape);
  Problem spoiled(shape);
  spoil(spoiled);
  const test::Expected expected = test::expect(spoiled);
  for (const std::string& isa : test::usable_isas()) {
    CAPTURE(isa);
    Context context = test::cpu_context(isa);
    Output want = clean.make_output();
    Output output = spoiled.make_output();
    REQUIRE(test::run(context, clean, want) == "ok");
    REQUIRE(test::run(context, spoiled, output) == "ok");
    CHECK(test::check_same_bits({output}, {want}, first) == "");
    const int64_t other = spoiled.first_row(1);
    CHECK(test::check_same_bits({output, other}, {want, other}, shape.sequences[1].q_len) == "");
    CHECK(test::check_close(spoiled, expected, output, test::weights_of(context, spoiled)) == "");
  }
}

// A prefill over several tiles, and a few rows over several splits, each with a second sequence.
std::vector<ProblemShape> causal_shapes() {
  ProblemShape prefill = shape_of(140, 140);
  prefill.spec.causal = true;
  prefill.sequences.push_back({5, 9});
  ProblemShape rows = shape_of(12, 1100, DType::kBF16);
  rows.spec.causal = true;
  rows.sequences.push_back({1, 600});
  return {prefill, rows};
}

}  // namespace

TEST_SUITE("faults") {
  TEST_CASE("F16: NaN reaches exactly the rows that see it") {
    for (const ProblemShape& shape : causal_shapes()) {
      const int32_t start = shape.sequences[0].kv_len - shape.sequences[0].q_len;
      for (const int32_t token : {1, 5, 11}) {
        CAPTURE(token);
        const int32_t key = start + token;  // the newest that this token sees
        check_reach(shape, token, [&](Problem& p) { p.set_k(0, key, 1, 3, kNan); });
        check_reach(shape, token, [&](Problem& p) { p.set_v(0, key, 1, 3, kNan); });
        check_reach(shape, token, [&](Problem& p) { p.set_q(0, token, 3, 3, kNan); });
      }
    }
  }

  TEST_CASE("F16: NaN in the queries of one token and head stays there") {
    const ProblemShape shape = causal_shapes()[0];
    const Problem clean(shape);
    Problem spoiled(shape);
    spoiled.set_q(0, 7, 2, 0, kNan);
    for (const std::string& isa : test::usable_isas()) {
      CAPTURE(isa);
      Context context = test::cpu_context(isa);
      Output want = clean.make_output();
      Output output = spoiled.make_output();
      REQUIRE(test::run(context, clean, want) == "ok");
      REQUIRE(test::run(context, spoiled, output) == "ok");
      for (int64_t token = 0; token < clean.total_q(); ++token) {
        for (int64_t head = 0; head < 4; ++head) {
          for (int64_t d = 0; d < 24; ++d) {
            const bool hit = token == 7 && head == 2;
            const double got = output.at(token, head, d);
            if (hit ? std::isnan(got) : got == want.at(token, head, d)) continue;
            FAIL_CHECK("token ", token, ", head ", head, ", column ", d, " is ", got);
          }
        }
      }
      CHECK(std::isnan(output.lse[static_cast<size_t>(2 * clean.total_q() + 7)]));
    }
  }

  TEST_CASE("F16: NaN in unused slots, masked keys and behind a window has no effect") {
    // Unused slots of every problem are NaN; here also keys that a window hides from every row.
    ProblemShape shape = shape_of(3, 700, DType::kF16);
    shape.spec.causal = true;
    shape.spec.window_left = 100;
    shape.sequences[0].leftpad = 3;
    shape.sequences[0].spare = 9;
    const Problem clean(shape);
    Problem spoiled(shape);
    for (int32_t key = 0; key < 590; ++key) {
      spoiled.set_k(0, key, 0, 1, kNan);
      spoiled.set_v(0, key, 1, 1, kInfinity);
    }
    for (const std::string& isa : test::usable_isas()) {
      CAPTURE(isa);
      Context context = test::cpu_context(isa);
      Output want = clean.make_output();
      Output output = spoiled.make_output();
      REQUIRE(test::run(context, clean, want) == "ok");
      REQUIRE(test::run(context, spoiled, output) == "ok");
      CHECK(test::check_same_bits(output, want) == "");
    }
  }

  TEST_CASE("F17: infinities in q, K and V") {
    for (const ProblemShape& shape : causal_shapes()) {
      const int32_t start = shape.sequences[0].kv_len - shape.sequences[0].q_len;
      for (const double infinity : {kInfinity, -kInfinity}) {
        for (const int32_t token : {2, 9}) {
          CAPTURE(token);
          CAPTURE(infinity);
          const int32_t key = start + token;
          check_reach(shape, token, [&](Problem& p) { p.set_k(0, key, 0, 0, infinity); });
          check_reach(shape, token, [&](Problem& p) { p.set_v(0, key, 0, 0, infinity); });
          check_reach(shape, token, [&](Problem& p) { p.set_q(0, token, 0, 0, infinity); });
        }
      }
    }
  }

  TEST_CASE("F17: scores of -inf weigh nothing, and only such scores are the empty set") {
    test::check_on_every_isa(with_scores(
        shape_of(1, 200), [](int32_t key) { return key % 3 == 0 ? -kInfinity : 0.01 * key; }));
    test::check_on_every_isa(
        with_scores(shape_of(1, 700), [](int32_t key) { return key < 600 ? -kInfinity : 0.0; }));
    test::check_on_every_isa(with_scores(shape_of(2, 90), [](int32_t) { return -kInfinity; }));
  }

  TEST_CASE("F18: rows that see nothing are 0 and -inf, or the sink") {
    ProblemShape shape = shape_of(5, 70, DType::kBF16);
    shape.spec.window_left = 3;
    shape.spec.window_right = 3;
    for (const int32_t q_start : {-100, 200, -7, 70}) {
      CAPTURE(q_start);
      shape.sequences[0].q_start = q_start;
      shape.spec.has_sinks = false;
      test::check_on_every_isa(Problem(shape));
      shape.spec.has_sinks = true;
      test::check_on_every_isa(Problem(shape));
    }
    for (const std::string& isa : test::usable_isas()) {
      CAPTURE(isa);
      Context context = test::cpu_context(isa);
      shape.sequences[0].q_start = -100;
      const Problem problem(shape);
      LseView options;
      options.empty = LseEmpty::kPlusInf;
      Output output = problem.make_output(options);
      REQUIRE(test::run(context, problem, output) == "ok");
      CHECK(output.at(0, 0, 0) == 0.0);
      CHECK(output.lse[0] == problem.sinks[0]);  // a sink is not the empty set
      shape.spec.has_sinks = false;
      const Problem empty(shape);
      REQUIRE(test::run(context, empty, output) == "ok");
      CHECK(output.lse[0] == kInfinityF);
      shape.spec.has_sinks = true;
    }
  }

  TEST_CASE("F19: scores far from zero, rising and falling maxima") {
    for (const int32_t kv_len : {3, 90, 1300}) {
      const ProblemShape shape = shape_of(1, kv_len);
      const auto check = [&](const std::function<double(int32_t)>& score) {
        test::check_on_every_isa(with_scores(shape, score));
      };
      check([](int32_t key) { return -5e4 - key % 7; });
      check([](int32_t key) { return 88.5 + key % 5; });
      check([](int32_t key) { return 1e5 - 100.0 * key; });   // falling: later keys vanish
      check([](int32_t key) { return -1e5 + 100.0 * key; });  // rising at every key
      check([](int32_t key) { return key / 64 % 2 == 0 ? 40.0 : -40.0; });
      check([](int32_t key) { return key == 1 ? 1e30 : -1e30; });
      check([](int32_t key) { return key == 2 ? -1e30 : 1e30; });
      check([](int32_t key) { return -1e30 * (1 + key % 2); });
    }
  }

  TEST_CASE("F20: denormals in q, K and V are ordinary numbers") {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      ProblemShape shape = shape_of(2, 80, dtype);
      shape.q_dtype = dtype;
      shape.out_dtype = dtype;
      Problem problem(shape);
      const double tiny = dtype == DType::kF16 ? 0x1p-24 : 0x1p-133;
      for (int32_t key = 0; key < 80; ++key) {
        for (int32_t h = 0; h < 2; ++h) {
          problem.set_k(0, key, h, 1, tiny * (key % 5));
          problem.set_v(0, key, h, 2, tiny * (1 + key % 3) * 4);
        }
      }
      problem.set_q(0, 1, 1, 5, tiny);
      test::check_on_every_isa(problem);
      for (const std::string& isa : test::usable_isas()) {
        CAPTURE(isa);
        Context context = test::cpu_context(isa);
        Output output = problem.make_output();
        REQUIRE(test::run(context, problem, output) == "ok");
        // Not flushed, except by bf16 dot products: the mean of 4, 8 and 12 units.
        const bool flushed = test::weights_of(context, problem) == reference::Weights::kBFloat16;
        CHECK(((output.at(0, 0, 2) > 0.0) != flushed));
      }
    }
  }

#if defined(__x86_64__) || defined(__aarch64__)
  TEST_CASE("F47: the float unit is as the caller set it, and flushing there changes no row") {
    Problem problem(shape_of(3, 600, DType::kBF16));
    for (int32_t key = 0; key < 600; ++key) {
      for (int32_t h = 0; h < 2; ++h) problem.set_v(0, key, h, 2, 0x1p-133 * (1 + key % 3));
    }
    const test::Expected expected = test::expect(problem);
    const unsigned before = float_settings();
    for (const std::string& isa : test::usable_isas()) {
      CAPTURE(isa);
      Context context = test::cpu_context(isa, 1);  // with more, oneTBB sets workers up by itself
      Output want = problem.make_output();
      REQUIRE(test::run(context, problem, want) == "ok");
      CHECK(want.at(0, 0, 2) > 0.0);  // a denormal, to be flushed if anything is
      CHECK(float_settings() == before);

      Output output = problem.make_output();
      set_float_settings(before | kFlushing);
      const std::string status = test::run(context, problem, output);
      const unsigned after = float_settings();
      set_float_settings(before);
      REQUIRE(status == "ok");
      CHECK(after == (before | kFlushing));
      CHECK(test::check_close(problem, expected, output, test::weights_of(context, problem)) == "");
      CHECK(test::check_same_bits(output, want) == "");
    }
  }
#endif

  TEST_CASE("F21: what a 16-bit output cannot hold becomes an infinity") {
    for (const DType out_dtype : {DType::kBF16, DType::kF16}) {
      for (const int32_t kv_len : {1, 100}) {
        ProblemShape shape = shape_of(1, kv_len);
        shape.out_dtype = out_dtype;
        Problem problem(shape);
        const double large = out_dtype == DType::kBF16 ? 3.4e38 : 65'530.0;
        for (int32_t h = 0; h < 2; ++h) {
          for (int32_t key = 0; key < kv_len; ++key) {
            // f32 sums of 3.4e38 would overflow before they are stored: one key only.
            const bool set = out_dtype == DType::kF16 || kv_len == 1;
            if (set) problem.set_v(0, key, h, 0, large);
            if (set) problem.set_v(0, key, h, 1, -large);
            problem.set_v(0, key, h, 2, large * 0.25 / kv_len);
          }
        }
        test::check_on_every_isa(problem);
      }
    }
  }

  TEST_CASE("F23: all-equal V comes out as it is") {
    for (const double value : {0.0, 1.0, -0.333, 1e30, 1e-30}) {
      ProblemShape shape = shape_of(4, 900);
      Problem problem(shape);
      for (int32_t key = 0; key < 900; ++key) {
        for (int32_t h = 0; h < 2; ++h) {
          for (int32_t d = 0; d < 24; ++d) problem.set_v(0, key, h, d, value);
        }
      }
      test::check_on_every_isa(problem);
    }
  }
}

}  // namespace attnrt
