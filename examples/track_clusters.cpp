// SPDX-License-Identifier: Apache-2.0
// Attention among the hits of a particle detector: 60,000 of them, sorted into clusters of 5 to 50,
// each hit seeing its own cluster. The number of hits differs from event to event, so every event
// takes a new plan. What dense attention would take is measured on a slice of the rows.
#include <algorithm>
#include <attnrt/attnrt.hpp>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

namespace {

using attnrt::DType;
using attnrt::Status;
namespace expr = attnrt::expr;

constexpr int32_t kHeads = 4;
constexpr int32_t kHeadDim = 32;
constexpr int32_t kDenseRows = 256;

struct Event {
  std::vector<int32_t> cluster;  // of each hit, ascending
  std::vector<float> q, k, v;    // (hits, kHeads, kHeadDim)

  [[nodiscard]] int32_t hits() const { return static_cast<int32_t>(cluster.size()); }
};

Event make_event(size_t least_hits) {
  std::mt19937 random(7);
  std::uniform_int_distribution<size_t> size(5, 50);
  std::normal_distribution<float> normal;
  Event event;
  for (int32_t id = 0; event.cluster.size() < least_hits; ++id) {
    event.cluster.insert(event.cluster.end(), size(random), id);
  }
  for (auto* values : {&event.q, &event.k, &event.v}) {
    values->resize(event.cluster.size() * kHeads * kHeadDim);
    for (float& value : *values) value = normal(random);
  }
  return event;
}

attnrt::AttentionSpec make_spec() {
  attnrt::AttentionSpec spec;
  spec.num_heads_q = kHeads;
  spec.num_heads_kv = kHeads;
  spec.head_dim = kHeadDim;
  return spec;
}

Status plan_rows(const attnrt::AttentionSpec& spec, const Event& event, int32_t rows,
                 attnrt::Plan& plan) {
  const int32_t cu_seqlens_q[] = {0, rows}, cu_seqlens_k[] = {0, event.hits()};
  const expr::SlotValue values[] = {
      buffer_value("cluster", expr::ElementType::kI32, event.cluster.data(), {event.hits()})};
  attnrt::SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens_q;
  batch.cu_seqlens_k = cu_seqlens_k;
  batch.mask_values = values;
  return make_plan(spec, batch, plan);
}

Status run(attnrt::Context& context, const attnrt::Plan& plan, Event& event,
           std::vector<float>& out) {
  const int32_t rows = plan.total_q();
  attnrt::AttendArgs args;
  args.q = dense_tensor(event.q.data(), DType::kF32, rows, kHeads, kHeadDim);
  args.kv = attnrt::KvView::packed(event.k.data(), event.v.data(), DType::kF32, event.hits(),
                                   kHeads, kHeadDim);
  args.out = dense_tensor(out.data(), DType::kF32, rows, kHeads, kHeadDim);
  return attend(context, plan, args);
}

// The median of three runs, in milliseconds, after one that allocates.
template <class Call>
double time_ms(Status& status, const Call& call) {
  std::vector<double> times;
  for (int32_t i = 0; i < 4 && status.ok(); ++i) {
    const auto begin = std::chrono::steady_clock::now();
    status = call();
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
    if (i > 0) times.push_back(time.count());
  }
  std::sort(times.begin(), times.end());
  return times.empty() ? 0.0 : times[times.size() / 2];
}

// The largest difference of one row to the definition; NaN where there is one.
double check_row(const Event& event, size_t row, const std::vector<float>& out) {
  double worst = 0.0;
  for (size_t head = 0; head < kHeads; ++head) {
    const size_t at = (row * kHeads + head) * kHeadDim;
    std::vector<double> expected(kHeadDim);
    double sum = 0.0;
    for (size_t hit = 0; hit < event.cluster.size(); ++hit) {
      if (event.cluster[hit] != event.cluster[row]) continue;
      const size_t key = (hit * kHeads + head) * kHeadDim;
      double score = 0.0;
      for (size_t d = 0; d < kHeadDim; ++d) {
        score += static_cast<double>(event.q[at + d]) * event.k[key + d];
      }
      const double weight = std::exp(score / std::sqrt(double{kHeadDim}));
      sum += weight;
      for (size_t d = 0; d < kHeadDim; ++d) expected[d] += weight * event.v[key + d];
    }
    for (size_t d = 0; d < kHeadDim; ++d) {
      const double difference = std::fabs(out[at + d] - expected[d] / sum);
      if (difference > worst || std::isnan(difference)) worst = difference;
    }
  }
  return worst;
}

}  // namespace

int main() {
  using expr::kv, expr::q;
  Event event = make_event(60000);
  std::vector<float> out(event.q.size());
  const expr::Buffer cluster =
      expr::buffer("cluster", expr::ElementType::kI32, 1, expr::Order::kSorted);
  attnrt::AttentionSpec spec = make_spec();
  Status status = compile_mask(cluster[q()] == cluster[kv()], spec.mask);

  attnrt::Context context;
  attnrt::Plan plan, slice;
  if (status.ok()) status = plan_rows(make_spec(), event, kDenseRows, slice);
  const double plan_ms =
      time_ms(status, [&] { return plan_rows(spec, event, event.hits(), plan); });
  const double slice_ms = time_ms(status, [&] { return run(context, slice, event, out); });
  const double attend_ms = time_ms(status, [&] { return run(context, plan, event, out); });
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", to_string(status.code()), status.message().c_str());
    return 1;
  }

  double worst = 0.0;
  for (size_t row = 0; row < event.cluster.size(); row += 997) {
    const double difference = check_row(event, row, out);
    if (difference > worst || std::isnan(difference)) worst = difference;
  }
  std::printf("%d hits in %d clusters: %.2f %% of the blocks are never touched\n", event.hits(),
              event.cluster.back() + 1, 100.0 * plan.sparsity().sparsity());
  const double dense_ms = slice_ms * event.hits() / kDenseRows;
  std::printf("plan %.2f ms, attend %.1f ms; dense about %.0f ms, %.0f times as long\n", plan_ms,
              attend_ms, dense_ms, dense_ms / (plan_ms + attend_ms));
  std::printf("some rows and a plain loop differ by at most %g\n", worst);
  return worst < 1e-5 ? 0 : 1;
}
