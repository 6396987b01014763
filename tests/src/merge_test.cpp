// SPDX-License-Identifier: Apache-2.0
// merge_states against doubles, and where nothing may be rounded, bit for bit.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
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

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr float kInfF = std::numeric_limits<float>::infinity();
constexpr DType kDTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

struct Shape {
  int64_t tokens;
  int64_t heads;
  int64_t dim;
  [[nodiscard]] int64_t rows() const { return tokens * heads; }
  [[nodiscard]] int64_t size() const { return tokens * heads * dim; }
};

// One finished row in double precision; lse -inf means that it saw no key.
struct State {
  std::vector<double> out;
  double lse;
};

State merged(const std::vector<State>& states, double sink) {
  State result = {std::vector<double>(states[0].out.size(), 0.0), sink};
  double top = sink;
  for (const State& state : states) top = std::max(top, state.lse);
  if (top == -kInf) return result;
  double sum = sink == -kInf ? 0.0 : std::exp(sink - top);
  for (const State& state : states) {
    if (state.lse == -kInf) continue;
    const double weight = std::exp(state.lse - top);
    sum += weight;
    for (size_t d = 0; d < result.out.size(); ++d) result.out[d] += weight * state.out[d];
  }
  for (double& x : result.out) x /= sum;
  result.lse = top + std::log(sum);
  return result;
}

// Log-sum-exps from -40 to 40 with empty rows in between; row 0 is empty in every state.
double lse_of(int64_t state, int64_t row) {
  if (row == 0 || (row + state) % 5 == 0) return -kInf;
  return 40.0 * test::hashed(7, 3, state, row);
}

// Input `states` finished states; row r of state s in [token][head] order.
struct Inputs {
  std::vector<Elements> outs;
  std::vector<std::vector<float>> lses;
  std::vector<StateView> views;

  Inputs(const Shape& shape, DType dtype, int64_t count) {
    for (int64_t s = 0; s < count; ++s) {
      Elements& out = outs.emplace_back(dtype, shape.size());
      std::vector<float>& lse = lses.emplace_back(static_cast<size_t>(shape.rows()));
      for (int64_t row = 0; row < shape.rows(); ++row) {
        const auto natural = static_cast<float>(lse_of(s, row));
        lse[lse_index(shape, row)] = natural;
        for (int64_t d = 0; d < shape.dim; ++d) {
          const double value = natural == -kInfF ? 0.0 : test::hashed(5, 1, s, row * 1000 + d);
          out.set(row * shape.dim + d, static_cast<float>(value));
        }
      }
    }
    for (size_t s = 0; s < outs.size(); ++s) {
      views.push_back(
          {dense_tensor(std::as_const(outs[s]).data(), dtype, shape.tokens, shape.heads, shape.dim),
           lses[s].data()});
    }
  }
  static size_t lse_index(const Shape& shape, int64_t row) {
    return static_cast<size_t>(row % shape.heads * shape.tokens + row / shape.heads);
  }
  [[nodiscard]] std::vector<State> row(const Shape& shape, int64_t r) const {
    std::vector<State> states;
    for (size_t s = 0; s < outs.size(); ++s) {
      State& state = states.emplace_back();
      state.lse = lses[s][lse_index(shape, r)];
      for (int64_t d = 0; d < shape.dim; ++d) {
        state.out.push_back(outs[s].get(r * shape.dim + d));
      }
    }
    return states;
  }
};

double out_bound(DType dtype) {
  if (dtype == DType::kF32) return 2e-6;
  return dtype == DType::kBF16 ? 0.0041 : 0.0006;  // half a unit in the last place below 1
}

struct Output {
  Elements out;
  std::vector<float> lse;
  Output(const Shape& shape, DType dtype)
      : out(dtype, shape.size()), lse(static_cast<size_t>(shape.rows()), 77.0f) {}
  TensorView view(const Shape& shape, DType dtype) {
    return dense_tensor(out.data(), dtype, shape.tokens, shape.heads, shape.dim);
  }
};

std::string compare(const Shape& shape, const Output& output, int64_t row, const State& wanted,
                    DType dtype) {
  for (int64_t d = 0; d < shape.dim; ++d) {
    const double got = output.out.get(row * shape.dim + d);
    const double want = wanted.out[static_cast<size_t>(d)];
    if (std::abs(got - want) <= out_bound(dtype)) continue;
    return "row " + std::to_string(row) + " is " + std::to_string(got) + ", not " +
           std::to_string(want);
  }
  const double lse = output.lse[Inputs::lse_index(shape, row)];
  if (lse == wanted.lse || std::abs(lse - wanted.lse) <= 1e-5 * std::max(1.0, std::abs(lse))) {
    return "";
  }
  return "lse of row " + std::to_string(row) + " is " + std::to_string(lse) + ", not " +
         std::to_string(wanted.lse);
}

// Every context that computes merges.
std::vector<std::pair<std::string, Context>> contexts() {
  std::vector<std::pair<std::string, Context>> list;
  for (const std::string& isa : test::usable_isas()) list.emplace_back(isa, test::cpu_context(isa));
  ContextOptions options;
  options.backend = "reference";
  Context reference;
  REQUIRE(Context::create(options, reference).message() == "");
  list.emplace_back("reference", std::move(reference));
  return list;
}

TEST_CASE("finished states merge as doubles do, with and without sinks") {
  for (auto& [name, context] : contexts()) {
    for (const Shape& shape : {Shape{1, 1, 1}, Shape{7, 3, 40}, Shape{65, 4, 16}}) {
      for (const DType in : kDTypes) {
        for (const DType out : kDTypes) {
          for (const bool with_sinks : {false, true}) {
            for (const int64_t count : {1, 2, 5}) {
              CAPTURE(name);
              CAPTURE(shape.dim);
              CAPTURE(to_string(in));
              CAPTURE(to_string(out));
              CAPTURE(count);
              const Inputs inputs(shape, in, count);
              Output output(shape, out);
              std::vector<float> sinks;
              for (int64_t h = 0; h < shape.heads && with_sinks; ++h) {
                sinks.push_back(static_cast<float>(10.0 * test::hashed(1, 2, h, 0)));
              }
              const Status status = merge_states(context, inputs.views, output.view(shape, out),
                                                 {output.lse.data()}, sinks);
              REQUIRE(status.message() == "");
              std::string problem;
              for (int64_t row = 0; row < shape.rows() && problem.empty(); ++row) {
                const double sink =
                    with_sinks ? sinks[static_cast<size_t>(row % shape.heads)] : -kInf;
                problem = compare(shape, output, row, merged(inputs.row(shape, row), sink), out);
              }
              CHECK(problem == "");
            }
          }
        }
      }
    }
  }
}

TEST_CASE("(0, -inf) is neutral, and only it: merging it changes no bit") {
  const Shape shape = {5, 2, 24};
  for (auto& [name, context] : contexts()) {
    CAPTURE(name);
    const Inputs inputs(shape, DType::kF32, 1);
    const Elements zeros = [&] {
      Elements list(DType::kF32, shape.size());
      for (int64_t i = 0; i < list.size(); ++i) list.set(i, 0.0f);
      return list;
    }();
    const std::vector<float> minus_inf(static_cast<size_t>(shape.rows()), -kInfF);
    const StateView empty = {dense_tensor(zeros.data(), DType::kF32, 5, 2, 24), minus_inf.data()};

    Output alone(shape, DType::kF32);
    REQUIRE(merge_states(context, inputs.views, alone.view(shape, DType::kF32), {alone.lse.data()})
                .ok());
    for (const std::vector<StateView>& states :
         {std::vector<StateView>{empty, inputs.views[0]},
          std::vector<StateView>{inputs.views[0], empty, empty}}) {
      Output padded(shape, DType::kF32);
      REQUIRE(
          merge_states(context, states, padded.view(shape, DType::kF32), {padded.lse.data()}).ok());
      int different = 0;
      for (int64_t i = 0; i < shape.size(); ++i) {
        different += padded.out.same_bits(alone.out, i) ? 0 : 1;
      }
      CHECK(different == 0);
      CHECK(padded.lse == alone.lse);
    }
  }
}

TEST_CASE("merging only empties gives zeros and -inf, or the sink, in the form asked for") {
  const Shape shape = {3, 2, 8};
  for (auto& [name, context] : contexts()) {
    CAPTURE(name);
    Elements zeros(DType::kF32, shape.size());
    for (int64_t i = 0; i < zeros.size(); ++i) zeros.set(i, 0.0f);
    const std::vector<float> minus_inf(6, -kInfF);
    const StateView empty = {dense_tensor(std::as_const(zeros).data(), DType::kF32, 3, 2, 8),
                             minus_inf.data()};
    const StateView both[] = {empty, empty};
    const float sinks[] = {2.0f, -3.0f};
    const struct {
      LseView options;
      std::span<const float> sinks;
      std::array<float, 6> lse;
    } rows[] = {
        {{}, {}, {-kInfF, -kInfF, -kInfF, -kInfF, -kInfF, -kInfF}},
        {{nullptr, LseBase::kTwo, LseOrder::kTokensFirst, LseEmpty::kPlusInf},
         {},
         {kInfF, kInfF, kInfF, kInfF, kInfF, kInfF}},
        {{}, sinks, {2, 2, 2, -3, -3, -3}},
        {{nullptr, LseBase::kNatural, LseOrder::kTokensFirst, LseEmpty::kPlusInf},
         sinks,
         {2, -3, 2, -3, 2, -3}},
    };
    for (const auto& row : rows) {
      Output output(shape, DType::kF32);
      LseView lse = row.options;
      lse.data = output.lse.data();
      REQUIRE(merge_states(context, both, output.view(shape, DType::kF32), lse, row.sinks).ok());
      for (int64_t i = 0; i < shape.size(); ++i) CHECK(output.out.get(i) == 0.0f);
      for (size_t i = 0; i < 6; ++i) {
        const bool close =
            output.lse[i] == row.lse[i] || std::abs(output.lse[i] - row.lse[i]) < 1e-5f;
        CHECK(close);
      }
    }
  }
}

TEST_CASE("an infinite sink takes all weight, a NaN one makes rows NaN, but not empty ones") {
  const float one = 1.0f;
  const float lses[] = {0.25f, -kInfF};
  const float filled[] = {1.0f, 0.0f};  // out, or acc with ref and sum
  const float sums[] = {1.0f, 0.0f};
  for (auto& [name, context] : contexts()) {
    for (const float sink : {kInfF, std::numeric_limits<float>::quiet_NaN()}) {
      for (const size_t i : {size_t{0}, size_t{1}}) {
        CAPTURE(name);
        CAPTURE(sink);
        CAPTURE(i);
        const StateView state = {dense_tensor(&filled[i], DType::kF32, 1, 1, 1), &lses[i]};
        const PartialView partial = {const_cast<float*>(&filled[i]), const_cast<float*>(&lses[i]),
                                     const_cast<float*>(&sums[i]), 1};
        for (const bool finished : {true, false}) {
          float out = one;
          float lse = one;
          const TensorView to = dense_tensor(&out, DType::kF32, 1, 1, 1);
          const Status status =
              finished ? merge_states(context, std::span(&state, 1), to, {&lse}, {&sink, 1})
                       : merge_states(context, std::span(&partial, 1), to, {&lse}, {&sink, 1});
          REQUIRE(status.message() == "");
          const bool nan = std::isnan(sink);
          CHECK(std::isnan(lse) == nan);
          if (!nan) CHECK(lse == kInfF);
          CHECK(std::isnan(out) == (nan && i == 0));
          if (!nan || i == 1) CHECK(out == 0.0f);
        }
      }
    }
  }
}

TEST_CASE("log-sum-exps of any size merge without overflow") {
  const struct {
    float a, b;
    double out, lse;  // of states whose out is 1 and 2
  } rows[] = {
      {1e4f, 1e4f, 1.5, 1e4 + std::log(2.0)},
      {-1e4f, -1e4f, 1.5, -1e4 + std::log(2.0)},
      {1e30f, -1e30f, 1.0, 1e30},
      {-1e30f, 1e30f, 2.0, 1e30},
      {88.0f, 89.0f, 1.0 + 1.0 / (1.0 + std::exp(-1.0)), 89.0 + std::log1p(std::exp(-1.0))},
      {0.0f, -200.0f, 1.0, 0.0},
      {-kInfF, -1e30f, 2.0, -1e30},
  };
  for (auto& [name, context] : contexts()) {
    for (const auto& row : rows) {
      CAPTURE(name);
      CAPTURE(row.a);
      CAPTURE(row.b);
      const float one = 1.0f;
      const float two = 2.0f;
      const StateView states[] = {{dense_tensor(&one, DType::kF32, 1, 1, 1), &row.a},
                                  {dense_tensor(&two, DType::kF32, 1, 1, 1), &row.b}};
      float out = -1.0f;
      float lse = -1.0f;
      REQUIRE(merge_states(context, states, dense_tensor(&out, DType::kF32, 1, 1, 1), {&lse}).ok());
      CHECK(std::abs(out - row.out) <= 1e-5);
      CHECK(std::abs(lse - row.lse) <= 1e-6 * std::max(1.0, std::abs(row.lse)));
    }
  }
}

TEST_CASE("f32 partials fold as doubles do, over splits and over several views") {
  const Shape shape = {6, 3, 20};
  for (auto& [name, context] : contexts()) {
    for (const bool with_sinks : {false, true}) {
      CAPTURE(name);
      CAPTURE(with_sinks);
      const std::vector<int32_t> splits = {2, 0, 3};
      std::vector<std::vector<float>> acc, ref, sum;
      std::vector<PartialView> views;
      std::vector<std::vector<State>> by_row(static_cast<size_t>(shape.rows()));
      int64_t state = 0;
      for (const int32_t count : splits) {
        acc.emplace_back(static_cast<size_t>(count * shape.size()));
        ref.emplace_back(static_cast<size_t>(count * shape.rows()));
        sum.emplace_back(static_cast<size_t>(count * shape.rows()));
        for (int32_t split = 0; split < count; ++split, ++state) {
          for (int64_t row = 0; row < shape.rows(); ++row) {
            const auto at = static_cast<size_t>(split * shape.rows() + row);
            const double natural = lse_of(state, row);
            const bool empty = natural == -kInf;
            // A reference below the maximum, as a lazily rescaled state may have.
            ref.back()[at] = empty ? -kInfF : static_cast<float>(natural - 1.5);
            sum.back()[at] = empty ? 0.0f : static_cast<float>(std::exp(1.5));
            State& wanted = by_row[static_cast<size_t>(row)].emplace_back();
            wanted.lse = empty ? -kInf : double{ref.back()[at]} + std::log(double{sum.back()[at]});
            for (int64_t d = 0; d < shape.dim; ++d) {
              const double value = empty ? 0.0 : test::hashed(5, 1, state, row * 1000 + d);
              const auto weighted = static_cast<float>(value * double{sum.back()[at]});
              acc.back()[at * static_cast<size_t>(shape.dim) + static_cast<size_t>(d)] = weighted;
              wanted.out.push_back(empty ? 0.0 : double{weighted} / double{sum.back()[at]});
            }
          }
        }
      }
      for (size_t i = 0; i < splits.size(); ++i) {
        views.push_back({acc[i].data(), ref[i].data(), sum[i].data(), splits[i]});
      }
      std::vector<float> sinks;
      if (with_sinks) sinks = {1.0f, -20.0f, 30.0f};
      Output output(shape, DType::kF32);
      REQUIRE(
          merge_states(context, views, output.view(shape, DType::kF32), {output.lse.data()}, sinks)
              .message() == "");
      for (int64_t row = 0; row < shape.rows(); ++row) {
        const double sink = with_sinks ? sinks[static_cast<size_t>(row % shape.heads)] : -kInf;
        const State wanted = merged(by_row[static_cast<size_t>(row)], sink);
        CHECK(compare(shape, output, row, wanted, DType::kF32) == "");
      }
    }
  }
}

}  // namespace
}  // namespace attnrt
