// SPDX-License-Identifier: Apache-2.0
#include "tests/support/check.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "backends/cpu/dispatch.hpp"
#include "backends/reference/element.hpp"

namespace attnrt::test {
namespace {

std::string place(int64_t token, int64_t head) {
  return " at token " + std::to_string(token) + ", head " + std::to_string(head);
}

bool same_class(double got, double want) {
  if (std::isnan(want)) return std::isnan(got);
  return got == want;  // infinities of one sign
}

std::string check_lse(const Problem& problem, const reference::Row& row, const Output& output,
                      int64_t token, int64_t head) {
  float want = 0.0f;
  LseView one = output.lse_view;
  one.data = &want;
  reference::store_lse(one, 0, 0, 1, 1, row.lse);
  const int64_t heads = output.view.shape[1];
  const int64_t index = one.order == LseOrder::kHeadsFirst ? head * output.view.shape[0] + token
                                                           : token * heads + head;
  const double got = output.lse[static_cast<size_t>(index)];
  double bound = reference::lse_bound(row, problem.shape().q_dtype, problem.shape().kv_dtype);
  if (one.base == LseBase::kTwo) bound *= std::log2(std::exp(1.0));
  const bool good = std::isfinite(want) ? std::fabs(got - want) <= bound : same_class(got, want);
  if (good) return {};
  return "lse is " + std::to_string(got) + ", not " + std::to_string(want) + " within " +
         std::to_string(bound) + place(token, head);
}

// As the LSE: the largest score is as exact as their sum.
std::string check_row_max(const Problem& problem, const reference::Row& row, const Output& output,
                          int64_t token, int64_t head) {
  const auto index = static_cast<size_t>(head * output.view.shape[0] + token);
  const double got = output.row_max[index];
  const double bound = reference::lse_bound(row, problem.shape().q_dtype, problem.shape().kv_dtype);
  const bool good =
      std::isfinite(row.max) ? std::fabs(got - row.max) <= bound : same_class(got, row.max);
  if (good) return {};
  return "row_max is " + std::to_string(got) + ", not " + std::to_string(row.max) +
         place(token, head);
}

}  // namespace

Expected expect(const Problem& problem) {
  Output unused = problem.make_output();
  const AttendArgs args = problem.args(unused);
  const SequenceBatch batch = problem.batch();
  reference::ErrorRule rule(problem.shape().out_dtype);
  Expected expected;
  for (int64_t seq = 0; seq < batch.batch_size(); ++seq) {
    const int64_t q_len = problem.shape().sequences[static_cast<size_t>(seq)].q_len;
    for (int64_t token = 0; token < q_len; ++token) {
      for (int64_t head = 0; head < problem.spec().num_heads_q; ++head) {
        const reference::RowIndex where{seq, token, head};
        expected.rows.push_back(reference::attend_row(problem.spec(), batch, args, where));
        rule.add(expected.rows.back(), reference::naive_row(problem.spec(), batch, args, where));
      }
    }
  }
  expected.bound = rule.bound();
  expected.bound_of_bf16_weights = rule.bound(reference::Weights::kBFloat16);
  return expected;
}

reference::Weights weights_of(const Context& context, const Problem& problem) {
  if (context.backend() != "cpu") return reference::Weights::kFloat32;
  const cpu::KernelTable* table = nullptr;
  REQUIRE(cpu::resolve_table(context.isa(), table).ok());
  const ProblemShape& shape = problem.shape();
  const Arithmetic arithmetic =
      shape.weight_hook.call != nullptr ? Arithmetic::kFloat32 : shape.spec.arithmetic;
  const bool dot = cpu::uses_bf16_dot(*table, arithmetic, shape.q_dtype, shape.kv_dtype,
                                      shape.rotary != Rotary::kNone);
  return dot ? reference::Weights::kBFloat16 : reference::Weights::kFloat32;
}

std::string check_out(const Problem& problem, const Expected& expected, const Output& output,
                      reference::Weights weights) {
  const double bound =
      weights == reference::Weights::kBFloat16 ? expected.bound_of_bf16_weights : expected.bound;
  const int64_t heads = problem.spec().num_heads_q;
  double worst = 0.0;
  std::string worst_place;
  for (int64_t token = 0; token < problem.total_q(); ++token) {
    for (int64_t head = 0; head < heads; ++head) {
      const reference::Row& row = expected.rows[static_cast<size_t>(token * heads + head)];
      for (int64_t d = 0; d < std::ssize(row.out); ++d) {
        const double got = output.at(token, head, d);
        const double exact = row.out[static_cast<size_t>(d)];
        const double want = reference::rounded(problem.shape().out_dtype, exact);
        const bool finite = std::isfinite(want) && std::isfinite(got);
        if (!finite && !same_class(got, want)) {
          return "out is " + std::to_string(got) + ", not " + std::to_string(want) +
                 place(token, head) + ", column " + std::to_string(d);
        }
        if (finite && std::fabs(got - exact) > worst) {
          worst = std::fabs(got - exact);
          worst_place = place(token, head) + ", column " + std::to_string(d) + ": " +
                        std::to_string(got) + ", not " + std::to_string(exact);
        }
      }
    }
  }
  if (worst > bound) {
    return "out is off by " + std::to_string(worst) + ", allowed are " + std::to_string(bound) +
           worst_place;
  }
  return output.stray_write();
}

std::string check_close(const Problem& problem, const Expected& expected, const Output& output,
                        reference::Weights weights) {
  const int64_t heads = problem.spec().num_heads_q;
  for (int64_t token = 0; token < problem.total_q(); ++token) {
    for (int64_t head = 0; head < heads; ++head) {
      const reference::Row& row = expected.rows[static_cast<size_t>(token * heads + head)];
      if (output.lse_view.data != nullptr) {
        const std::string wrong = check_lse(problem, row, output, token, head);
        if (!wrong.empty()) return wrong;
      }
      if (output.row_max.empty()) continue;
      const std::string wrong = check_row_max(problem, row, output, token, head);
      if (!wrong.empty()) return wrong;
    }
  }
  return check_out(problem, expected, output, weights);
}

std::string run(Context& context, const Problem& problem, Output& output) {
  Plan plan;
  Status status = make_plan(problem.spec(), problem.batch(), plan);
  if (status.ok()) status = attend(context, plan, problem.args(output));
  return status.ok() ? "ok" : std::string(to_string(status.code())) + ": " + status.message();
}

std::string check_against_reference(Context& context, const Problem& problem) {
  Output output = problem.make_output();
  const std::string status = run(context, problem, output);
  if (status != "ok") return status;
  return check_close(problem, expect(problem), output, weights_of(context, problem));
}

void check_on_every_isa(const Problem& problem) {
  const std::string shape_text = describe(problem.shape());
  CAPTURE(shape_text);
  const Expected expected = expect(problem);
  for (const std::string& isa : usable_isas()) {
    CAPTURE(isa);
    Context context = cpu_context(isa);
    Output output = problem.make_output();
    REQUIRE(run(context, problem, output) == "ok");
    CHECK(check_close(problem, expected, output, weights_of(context, problem)) == "");
  }
}

std::string check_same_bits(const RowRange& a, const RowRange& b, int64_t count) {
  for (int64_t row = 0; row < count; ++row) {
    if (a.output.row_bits(a.first_token + row) == b.output.row_bits(b.first_token + row)) continue;
    for (int64_t head = 0; head < a.output.view.shape[1]; ++head) {
      for (int64_t d = 0; d < a.output.view.shape[2]; ++d) {
        const double x = a.output.at(a.first_token + row, head, d);
        const double y = b.output.at(b.first_token + row, head, d);
        if (x != y) {
          return "bits differ by " + std::to_string((x - y) * 0x1p24) + " * 2^-24 in column " +
                 std::to_string(d) + place(row, head);
        }
      }
    }
    return "bits of the lse, of a zero or of a NaN differ at token " + std::to_string(row);
  }
  return {};
}

std::string check_same_bits(const Output& a, const Output& b) {
  if (a.view.shape != b.view.shape) return "shapes differ";
  return check_same_bits({a}, {b}, a.view.shape[0]);
}

Context cpu_context(std::string_view isa, int32_t num_threads) {
  ContextOptions options;
  options.backend = "cpu";
  options.isa = isa;
  options.num_threads = num_threads;
  Context context;
  const Status status = Context::create(options, context);
  REQUIRE_MESSAGE(status.ok(), status.message());
  return context;
}

std::vector<std::string> usable_isas() {
  std::vector<std::string> names;
  for (const Capability& isa : Runtime::isas()) {
    if (isa.available) {
      names.push_back(isa.name);
    } else {
      MESSAGE("skipped, not on this machine: ", isa.name, ": ", isa.reason);
    }
  }
  REQUIRE_MESSAGE(!names.empty(), "no ISA is usable, not even the baseline");
  return names;
}

}  // namespace attnrt::test
