// SPDX-License-Identifier: Apache-2.0
#include "perf/plan_probe.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "perf/cli.hpp"
#include "perf/random.hpp"
#include "perf/statistics.hpp"
#include "src/expr/evaluate.hpp"
#include "src/plan_data.hpp"

namespace attnrt::perf {
namespace {

// Of one sequence of the case, drawn before the clock starts.
std::vector<expr::Point> random_points(const CaseInput& input, int64_t count) {
  Random random(1);
  const std::vector<SequenceLengths> sequences = sequence_lengths(input.sweep_case());
  const Heads heads = input.sweep_case().heads;
  std::vector<expr::Point> points(static_cast<size_t>(count));
  for (expr::Point& point : points) {
    const auto below = [&](int64_t n) {
      return static_cast<int64_t>(random.below(static_cast<uint64_t>(n)));
    };
    point.b = below(static_cast<int64_t>(sequences.size()));
    const SequenceLengths& lengths = sequences[static_cast<size_t>(point.b)];
    point.h = below(heads.q);
    point.hkv = point.h / (heads.q / heads.kv);
    point.q = lengths.kv - lengths.q + below(lengths.q);
    point.kv = below(lengths.kv);
    point.q_len = lengths.q;
    point.kv_len = lengths.kv;
  }
  return points;
}

}  // namespace

void plan_bytes(const Plan& plan, PlanFigures& figures) {
  const PlanData& data = *plan.data();
  const auto bytes = [](const auto& list) {
    return static_cast<int64_t>(list.size() * sizeof(list[0]));
  };
  figures.run_bytes = bytes(data.runs);
  figures.bytes = figures.run_bytes + bytes(data.tiles) + bytes(data.items);
}

Status measure_plan(const CaseInput& input, const RepeatPolicy& policy, PlanFigures& figures) {
  Plan plan;
  // A plan keeps the memory of its last two contents.
  for (int i = 0; i < 2; ++i) {
    Status status = make_plan(input.spec(), input.batch(), plan);
    if (!status.ok()) return status;
  }
  Repeater repeater(policy, steady_seconds);
  while (!repeater.done()) {
    const double begin = steady_seconds();
    Status status = make_plan(input.spec(), input.batch(), plan);
    repeater.add(steady_seconds() - begin);
    if (!status.ok()) return status;
  }
  figures.seconds = summarize(repeater.samples());
  figures.repeats = static_cast<int64_t>(repeater.samples().size());
  plan_bytes(plan, figures);
  return {};
}

double element_seconds(const CaseInput& input, int64_t samples) {
  constexpr int64_t kPieces = 16;
  expr::Evaluator mask;
  const Status status =
      expr::Evaluator::create(input.whole_mask(), input.batch().mask_values, mask);
  if (!status.ok()) throw BadInput("mask: " + std::string(status.message()));
  const int64_t piece = std::max<int64_t>(1, samples / kPieces);
  const std::vector<expr::Point> points = random_points(input, std::min(piece, int64_t{1} << 16));
  std::vector<double> seconds;
  for (int64_t i = 0; i < kPieces; ++i) {
    const double begin = steady_seconds();
    for (int64_t done = 0; done < piece;) {
      const auto batch = std::min<int64_t>(std::ssize(points), piece - done);
      for (int64_t p = 0; p < batch; ++p) {
        (void)mask.predicate(points[static_cast<size_t>(p)]);  // in another library: not left out
      }
      done += batch;
    }
    seconds.push_back((steady_seconds() - begin) / static_cast<double>(piece));
  }
  return median(seconds);
}

double mask_elements(const CaseInput& input) {
  const AttentionSpec& spec = input.spec();
  double elements = 0.0;
  for (const SequenceLengths& lengths : sequence_lengths(input.sweep_case())) {
    elements += static_cast<double>(lengths.q) * static_cast<double>(lengths.kv);
  }
  return elements * (spec.mask.uses_head() ? spec.num_heads_q : 1);
}

}  // namespace attnrt::perf
