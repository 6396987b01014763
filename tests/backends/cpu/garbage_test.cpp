// SPDX-License-Identifier: Apache-2.0
// NaN and infinities wherever a row does not look, and where it does: windows that end on odd keys,
// on pieces of 16 keys and on blocks of 128, in every layout, against the reference.
#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

#include "tests/support/check.hpp"

namespace attnrt {
namespace {

using test::Output;
using test::Problem;
using test::ProblemShape;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct DTypes {
  DType q, kv;
};
constexpr DTypes kDTypes[] = {{DType::kBF16, DType::kBF16},
                              {DType::kF32, DType::kBF16},
                              {DType::kF32, DType::kF32},
                              {DType::kF32, DType::kF16}};

ProblemShape shape_of(const DTypes& dtypes, int32_t q_len, int32_t kv_len) {
  ProblemShape shape;
  shape.spec.num_heads_q = 2;
  shape.spec.num_heads_kv = 1;
  shape.spec.head_dim = 16;
  shape.spec.causal = true;
  shape.q_dtype = dtypes.q;
  shape.kv_dtype = dtypes.kv;
  shape.layout = KvLayout::kPacked16;
  shape.page_size = 32;
  shape.sequences = {{q_len, kv_len}};
  return shape;
}

std::string check_close(Context& context, const Problem& problem, const test::Expected& expected) {
  Output output = problem.make_output();
  const std::string status = test::run(context, problem, output);
  if (status != "ok") return status;
  return test::check_close(problem, expected, output, test::weights_of(context, problem));
}

// One element of K or V is not finite: rows that see it follow the reference, NaN where it has NaN,
// and so do all others. The keys stand around `edge`.
void check_element(const ProblemShape& shape, int32_t key, bool is_v, double value) {
  Problem problem(shape);
  if (is_v) {
    problem.set_v(0, key, 0, 3, value);
  } else {
    problem.set_k(0, key, 0, 3, value);
  }
  const test::Expected expected = test::expect(problem);
  for (const std::string& isa : test::usable_isas()) {
    Context context = test::cpu_context(isa, 1);
    const std::string wrong = check_close(context, problem, expected);
    CHECK_MESSAGE(wrong.empty(), isa, ", ", is_v ? "V" : "K", " of key ", key, " is ", value, ": ",
                  wrong, "\n  ", test::describe(shape));
  }
}

}  // namespace

TEST_SUITE("garbage") {
  TEST_CASE("keys on every side of narrow windows, at the ends of pieces and blocks") {
    for (const DTypes& dtypes : kDTypes) {
      for (const int32_t edge : {16, 128}) {
        for (const int32_t rows : {2, 5, 12}) {
          for (const int32_t left : {0, 1, 4}) {
            const int32_t last = edge + rows / 2;
            ProblemShape shape = shape_of(dtypes, rows, last);
            shape.spec.window_left = left;
            shape.page_size = left == 4 ? 48 : 32;
            for (int32_t key = edge - rows; key < last; ++key) {
              if (key < 0) continue;
              check_element(shape, key, true, key % 3 == 0 ? kInfinity : kNan);
              if (key % 4 == 0) check_element(shape, key, false, kNan);
            }
          }
        }
      }
    }
  }
}

}  // namespace attnrt
