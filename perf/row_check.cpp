// SPDX-License-Identifier: Apache-2.0
// Draws rows, makes their keys again and asks the reference.
#include "perf/row_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <set>

#include "backends/reference/reference.hpp"
#include "perf/random.hpp"

namespace attnrt::perf {
namespace {

double load(const void* data, DType dtype, int64_t index) {
  if (dtype == DType::kF32) return static_cast<const float*>(data)[index];
  const uint16_t bits = static_cast<const uint16_t*>(data)[index];
  return dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

/// error / bound, where NaN and infinite errors count as infinitely wrong.
double ratio(double error, double bound) {
  if (error == 0.0) return 0.0;
  const double value = error / bound;
  return std::isfinite(value) ? value : std::numeric_limits<double>::infinity();
}

/// One query row alone with the keys of its own KV head, packed.
struct LoneRow {
  AttentionSpec spec;
  std::vector<std::byte> k, v;
  std::vector<int32_t> cu_seqlens_q{0, 1}, cu_seqlens_k, q_start;
  SequenceBatch batch;
  AttendArgs args;
};

/// Whose keys to make again.
struct KeyPlace {
  int64_t seq = 0;
  int64_t kv_head = 0;
  bool v_is_k_prefix = false;
};

void copy_keys(const LayerRun& run, const TokenSource& source, const KeyPlace& place,
               LoneRow& row) {
  const auto element_bytes = static_cast<size_t>(size_of(source.shape().dtype));
  const size_t k_bytes = static_cast<size_t>(run.spec.head_dim) * element_bytes;
  const size_t v_bytes = static_cast<size_t>(run.spec.head_dim_v) * element_bytes;
  const auto at = static_cast<size_t>(place.seq);
  const int64_t request = run.batch.requests[at];
  const auto keys = static_cast<size_t>(run.batch.seqused_k[at]);
  const auto head = static_cast<size_t>(place.kv_head);
  row.k.resize(keys * k_bytes);
  row.v.resize(keys * v_bytes);
  for (size_t key = 0; key < keys; ++key) {
    const auto position = static_cast<int64_t>(key);
    const std::byte* k = source.k_row(run.layer, request, position) + head * k_bytes;
    const std::byte* v =
        place.v_is_k_prefix ? k : source.v_row(run.layer, request, position) + head * v_bytes;
    std::memcpy(row.k.data() + key * k_bytes, k, k_bytes);
    std::memcpy(row.v.data() + key * v_bytes, v, v_bytes);
  }
}

/// Where a row of q stands.
struct RowPlace {
  int64_t token = 0;  // within the step
  int64_t head = 0;
  int64_t seq = 0;
  int64_t position = 0;  // within its sequence
};

RowPlace find_row(const LayerRun& run, int64_t token, int64_t head) {
  const std::vector<int32_t>& starts = run.batch.cu_seqlens_q;
  const int64_t seq = std::upper_bound(starts.begin(), starts.end(), token) - starts.begin() - 1;
  const auto at = static_cast<size_t>(seq);
  return {token, head, seq, run.batch.cache_seqlens[at] + token - starts[at]};
}

/// The row's query head and the KV head of its group, as a problem of one head each.
LoneRow make_lone_row(const LayerRun& run, const TokenSource& source, const RowPlace& place,
                      bool v_is_k_prefix) {
  const DType dtype = source.shape().dtype;
  const int32_t dim = run.spec.head_dim;
  const int32_t dim_v = run.spec.head_dim_v;
  const int32_t keys = run.batch.seqused_k[static_cast<size_t>(place.seq)];
  LoneRow row;
  row.spec = run.spec;
  row.spec.num_heads_q = 1;
  row.spec.num_heads_kv = 1;
  const int64_t group = run.spec.num_heads_q / run.spec.num_heads_kv;
  copy_keys(run, source, {place.seq, place.head / group, v_is_k_prefix}, row);
  row.cu_seqlens_k = {0, keys};
  row.q_start = {static_cast<int32_t>(place.position)};
  row.batch.cu_seqlens_q = row.cu_seqlens_q;
  row.batch.cu_seqlens_k = row.cu_seqlens_k;
  row.batch.q_start = row.q_start;
  const int64_t first = (place.token * run.spec.num_heads_q + place.head) * dim;
  const void* q = source.q(run.layer, run.step) + first * size_of(dtype);
  row.args.q = dense_tensor(q, dtype, 1, 1, dim);
  row.args.kv = KvView::packed(row.k.data(), row.v.data(), dtype, keys, 1, dim, dim_v);
  row.args.out = dense_tensor(static_cast<void*>(nullptr), run.out.dtype, 1, 1, dim_v);
  const auto head = static_cast<size_t>(place.head);
  if (!run.sinks.empty()) row.args.sinks = run.sinks.subspan(head, 1);
  if (!run.slopes.empty()) row.args.alibi_slopes = run.slopes.subspan(head, 1);
  return row;
}

/// Infinite where a difference is NaN, so that no comparison can lose it.
double largest_difference(const LayerRun& run, const RowPlace& place,
                          const std::vector<double>& expected) {
  const int64_t first = place.token * run.out.strides[0] + place.head * run.out.strides[1];
  double largest = 0.0;
  for (size_t d = 0; d < expected.size(); ++d) {
    const double out = load(run.out.data, run.out.dtype, first + static_cast<int64_t>(d));
    const double difference = std::abs(out - expected[d]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

}  // namespace

std::vector<int64_t> draw_rows(int64_t count, int64_t total, uint64_t seed) {
  if (count >= total) {
    std::vector<int64_t> all(static_cast<size_t>(total));
    std::iota(all.begin(), all.end(), int64_t{0});
    return all;
  }
  // Floyd's sampling: `count` draws for any total.
  Random random(seed);
  std::set<int64_t> rows;
  for (int64_t last = total - count; last < total; ++last) {
    const auto drawn = static_cast<int64_t>(random.below(static_cast<uint64_t>(last) + 1));
    if (!rows.insert(drawn).second) rows.insert(last);
  }
  return {rows.begin(), rows.end()};
}

RowCheck::RowCheck(int64_t count, int64_t total_rows, uint64_t seed, bool v_is_k_prefix)
    : rows_(draw_rows(count, total_rows, seed)), seed_(seed), v_is_k_prefix_(v_is_k_prefix) {}

void RowCheck::check(const LayerRun& run, const TokenSource& source) {
  const int64_t end = seen_ + run.batch.total_q();
  for (; next_ < rows_.size() && rows_[next_] < end; ++next_) {
    const auto heads = static_cast<uint64_t>(run.spec.num_heads_q);
    const uint64_t head = mix_bits(seed_ + static_cast<uint64_t>(rows_[next_])) % heads;
    check_row(run, source, rows_[next_] - seen_, static_cast<int64_t>(head));
  }
  seen_ = end;
}

void RowCheck::check_row(const LayerRun& run, const TokenSource& source, int64_t token,
                         int64_t head) {
  const RowPlace place = find_row(run, token, head);
  const LoneRow row = make_lone_row(run, source, place, v_is_k_prefix_);
  const reference::Row expected = reference::attend_row(row.spec, row.batch, row.args, {});
  reference::ErrorRule rule(run.out.dtype);
  rule.add(expected, reference::naive_row(row.spec, row.batch, row.args, {}));

  const double bound = rule.bound(run.weights);
  const double error = largest_difference(run, place, expected.out);
  const double lse = run.lse[head * run.batch.total_q() + token];
  const double lse_error = lse == expected.lse ? 0.0 : std::abs(lse - expected.lse);
  const DType dtype = source.shape().dtype;
  const double out_ratio = ratio(error, bound);
  const double lse_ratio = ratio(lse_error, reference::lse_bound(expected, dtype, dtype));
  ++checked_;
  worst_out_ = std::max(worst_out_, out_ratio);
  worst_lse_ = std::max(worst_lse_, lse_ratio);
  if (out_ratio <= 1.0 && lse_ratio <= 1.0) return;
  if (failed_++ > 0) return;
  first_failure_ = fmt::format(
      "step {}, layer {}, request {}, position {}, head {}: |out - reference| is {:.3g} where "
      "{:.3g} is allowed, the LSE is {:.7g} where the reference has {:.7g}",
      run.step, run.layer, run.batch.requests[static_cast<size_t>(place.seq)] + 1, place.position,
      head, error, bound, lse, expected.lse);
}

}  // namespace attnrt::perf
