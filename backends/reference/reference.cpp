// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/reference.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "backends/reference/element.hpp"
#include "backends/reference/expressions.hpp"
#include "backends/reference/kv_element.hpp"
#include "backends/reference/sequence.hpp"

namespace attnrt::reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLog2E = 1.4426950408889634074;

struct Problem {
  const AttentionSpec& spec;
  const SequenceBatch& batch;
  const AttendArgs& args;  // with the q and K of the branch
  Expressions& expressions;
  const KvView& values;  // V: the same for all branches
  int32_t branch = 0;
};

// An unfinished softmax over some keys: sum of exp(s - max), and that sum weighted with V.
template <class T>
struct State {
  std::vector<T> acc;
  T max = -std::numeric_limits<T>::infinity();
  T sum = 0;
  double max_abs_score = 0.0;
  double max_abs_value = 0.0;
  std::vector<double> abs_acc;  // acc of |V|
  int64_t visible_keys = 0;
};

struct KeyRange {
  int64_t begin;
  int64_t end;
};

int64_t value_dim(const AttentionSpec& spec) {
  return spec.head_dim_v != 0 ? spec.head_dim_v : spec.head_dim;
}

Element element_of(const Sequence& s, RowIndex where, int64_t key) {
  return {.seq = s.index,
          .q_head = where.q_head,
          .position = s.q_start + where.token,
          .key = key,
          .q_len = s.q_len,
          .kv_len = s.kv_len};
}

bool visible(const Problem& p, const Sequence& s, RowIndex where, int64_t key) {
  const AttentionSpec& spec = p.spec;
  const int64_t position = s.q_start + where.token;
  if (key < 0 || key >= s.kv_len) return false;
  if (spec.causal && key > position) return false;
  if (spec.window_left >= 0 && key < position - spec.window_left) return false;
  if (!spec.causal && spec.window_right >= 0 && key > position + spec.window_right) return false;
  return p.expressions.visible(element_of(s, where, key));
}

template <class T>
void rotate_row(const RotaryView& rotary, int64_t position, T* row) {
  if (rotary.cos == nullptr) return;
  const int64_t half = rotary.rotary_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const T cos = static_cast<T>(load(rotary.dtype, rotary.cos, position * half + i));
    const T sin = static_cast<T>(load(rotary.dtype, rotary.sin, position * half + i));
    const int64_t first = rotary.interleaved ? 2 * i : i;
    const int64_t second = rotary.interleaved ? 2 * i + 1 : i + half;
    const T a = row[first];
    const T b = row[second];
    row[first] = a * cos - b * sin;
    row[second] = a * sin + b * cos;
  }
}

template <class T>
std::vector<T> query_row(const Problem& p, const Sequence& s, RowIndex where) {
  const ConstTensorView& q = p.args.q;
  const int64_t offset = (s.first_row + where.token) * q.strides[0] + where.q_head * q.strides[1];
  std::vector<T> row(at(p.spec.head_dim));
  for (int64_t d = 0; d < p.spec.head_dim; ++d) {
    row[at(d)] = static_cast<T>(load(q.dtype, q.data, offset + d));
  }
  const int64_t position = s.q_start + (p.args.rotary_q_constant ? 0 : where.token);
  rotate_row(p.args.rotary_q, position, row.data());
  return row;
}

// The value that a hook makes of one element.
template <class T>
T hooked(const Problem& p, const TileHook& hook, const Element& element, T value, T reference) {
  if (hook.call == nullptr) return value;
  float single = static_cast<float>(value);
  hook.call({.values = &single,
             .num_keys = 1,
             .key_begin = static_cast<int32_t>(element.key),
             .seq = static_cast<int32_t>(element.seq),
             .head = static_cast<int32_t>(element.q_head),
             .branch = p.branch,
             .position = element.position,
             .reference = static_cast<float>(reference)},
            hook.user);
  return static_cast<T>(single);
}

template <class T>
T score_of(const Problem& p, const Sequence& s, RowIndex where, int64_t key,
           const std::vector<T>& query, std::vector<double>& buffer) {
  const AttentionSpec& spec = p.spec;
  const KvView& kv = p.args.kv;
  const int64_t kv_head = where.q_head / (spec.num_heads_q / spec.num_heads_kv);
  buffer.resize(query.size());
  load_kv_row(kv, {.is_v = false, .slot = slot_of(p.batch, s, key), .head = kv_head}, buffer);
  T dot = 0;
  for (size_t d = 0; d < query.size(); ++d) dot += query[d] * static_cast<T>(buffer[d]);
  // The default is a float too, so that leaving the scale out and passing it mean the same.
  const float scale =
      spec.softmax_scale.value_or(static_cast<float>(1.0 / std::sqrt(double(spec.head_dim))));
  T score = static_cast<T>(scale) * dot;
  if (spec.softcap > 0.0f) {
    const T cap = static_cast<T>(spec.softcap);
    score = cap * std::tanh(score / cap);
  }
  if (spec.has_alibi) {
    const bool per_sequence = std::ssize(p.args.alibi_slopes) > spec.num_heads_q;
    const int64_t first = per_sequence ? s.index * spec.num_heads_q : 0;
    const T distance = static_cast<T>(std::abs(s.q_start + where.token - key));
    score -= static_cast<T>(p.args.alibi_slopes[at(first + where.q_head)]) * distance;
  }
  score = p.expressions.score(element_of(s, where, key), score);
  return hooked(p, p.args.score_hook, element_of(s, where, key), score, T{0});
}

template <class T>
struct Weighted {
  int64_t key;
  T weight;
};

template <class T>
void add_value(const Problem& p, const Sequence& s, RowIndex where, Weighted<T> seen,
               State<T>& state, std::vector<double>& buffer) {
  const KvView& kv = p.values;
  const int64_t kv_head = where.q_head / (p.spec.num_heads_q / p.spec.num_heads_kv);
  buffer.resize(state.acc.size());
  load_kv_row(kv, {.is_v = true, .slot = slot_of(p.batch, s, seen.key), .head = kv_head}, buffer);
  for (size_t d = 0; d < buffer.size(); ++d) {
    state.acc[d] += seen.weight * static_cast<T>(buffer[d]);
    state.abs_acc[d] += double(seen.weight) * std::fabs(buffer[d]);
    if (std::fabs(buffer[d]) > state.max_abs_value) state.max_abs_value = std::fabs(buffer[d]);
  }
}

// Softmax of one row over the visible keys of `keys`. A NaN score makes the maximum, and with it
// everything, NaN. Where all visible scores are -inf the row counts as if it saw nothing.
template <class T>
State<T> soften(const Problem& p, RowIndex where, KeyRange keys) {
  const Sequence s = sequence_of(p.batch, where.seq);
  const std::vector<T> query = query_row<T>(p, s, where);
  State<T> state;
  state.acc.assign(at(value_dim(p.spec)), T{0});
  state.abs_acc.assign(at(value_dim(p.spec)), 0.0);
  std::vector<double> buffer;
  std::vector<Weighted<T>> seen;
  for (int64_t key = keys.begin; key < keys.end && key < s.kv_len; ++key) {
    if (!visible(p, s, where, key)) continue;
    const T score = score_of(p, s, where, key, query, buffer);
    seen.push_back({key, score});
    if (score > state.max || std::isnan(score)) state.max = score;
    state.max_abs_score = std::fmax(state.max_abs_score, std::fabs(double(score)));
  }
  const bool pointwise = p.spec.normalizer == Normalizer::kPointwise;
  if (pointwise) state.max = T{0};
  if (seen.empty() || state.max == -std::numeric_limits<T>::infinity()) return state;
  state.visible_keys = std::ssize(seen);
  for (Weighted<T>& one : seen) {
    // It held the score until here.
    if (!pointwise) {
      one.weight = std::exp(one.weight - state.max);
    } else if (one.weight == -std::numeric_limits<T>::infinity()) {
      one.weight = T{0};
    }
    state.sum += one.weight;
    one.weight =
        hooked(p, p.args.weight_hook, element_of(s, where, one.key), one.weight, state.max);
    add_value(p, s, where, one, state, buffer);
  }
  return state;
}

// out = gate * (scale * attention) + residual, and what errors are measured by with it.
template <class T>
void apply_epilogue(const Problem& p, RowIndex where, Row& row) {
  const Epilogue& epilogue = p.args.epilogue;
  const int64_t token = p.batch.cu_seqlens_q[at(where.seq)] + where.token;
  const auto element = [&](const ConstTensorView& tensor, size_t d) {
    const int64_t offset = token * tensor.strides[0] + where.q_head * tensor.strides[1];
    return static_cast<T>(load(tensor.dtype, tensor.data, offset + static_cast<int64_t>(d)));
  };
  double largest = 0.0;
  for (size_t d = 0; d < row.out.size(); ++d) {
    const T gate = epilogue.gate.data != nullptr ? element(epilogue.gate, d) : T{1};
    const T scaled = static_cast<T>(epilogue.scale) * static_cast<T>(row.out[d]);
    const T rest = epilogue.residual.data != nullptr ? element(epilogue.residual, d) : T{0};
    row.out[d] = double(gate * scaled + rest);
    largest = std::fmax(largest, std::fabs(double(gate) * epilogue.scale));
  }
  row.max_abs_value *= largest;
  row.max_mean_abs *= largest;
}

// acc is the result: nothing to divide by.
template <class T>
Row pointwise_row(const State<T>& state) {
  Row row;
  row.max_abs_score = state.max_abs_score;
  row.max_abs_value = state.max_abs_value * std::fmax(1.0, state.max_abs_score);
  row.visible_keys = state.visible_keys;
  for (const T x : state.acc) row.out.push_back(double(x));
  for (const double x : state.abs_acc) {
    if (std::isfinite(x)) row.max_mean_abs = std::fmax(row.max_mean_abs, x);
  }
  return row;
}

// One branch, before the epilogue.
template <class T>
Row branch_row(const Problem& p, RowIndex where) {
  const State<T> state = soften<T>(p, where, {0, std::numeric_limits<int64_t>::max()});
  if (p.spec.normalizer == Normalizer::kPointwise) return pointwise_row(state);
  T max = state.max;
  T sum = state.sum;
  T rescale = 1;
  if (p.spec.has_sinks) {
    const T sink = static_cast<T>(p.args.sinks[at(where.q_head)]);
    if (sink > max || std::isnan(sink)) {
      rescale = sum == T{0} ? T{0} : std::exp(max - sink);
      max = sink;
    }
    // A sink that is the maximum weighs 1, an infinite one too.
    const T weight = sink == max ? T{1} : std::exp(sink - max);
    if (max != -std::numeric_limits<T>::infinity()) sum = sum * rescale + weight;
  }
  Row row;
  row.max_abs_score = state.max_abs_score;
  row.max_abs_value = state.max_abs_value;
  row.visible_keys = state.visible_keys;
  row.lse = sum == T{0} ? -kInfinity : double(max + std::log(sum));
  row.max = std::isnan(state.sum) ? double(state.sum) : double(state.max);
  row.out.resize(state.acc.size(), 0.0);
  // No keys: 0 whatever the sink, NaN too.
  for (size_t d = 0; d < row.out.size() && state.sum != T{0}; ++d) {
    row.out[d] = double(state.acc[d] * rescale / sum);
    const double mean_abs = state.abs_acc[d] * double(rescale / sum);
    if (std::isfinite(mean_abs)) row.max_mean_abs = std::fmax(row.max_mean_abs, mean_abs);
  }
  return row;
}

AttendArgs args_of_branch(const AttendArgs& args, size_t branch) {
  AttendArgs of = args;
  if (branch == 0) return of;
  of.q = args.branches[branch - 1].q;
  of.kv.k = const_cast<void*>(args.branches[branch - 1].k);
  return of;
}

// The sum over branches of weight * attention.
template <class T>
Row sum_of_branches(const Problem& p, RowIndex where) {
  Row sum;
  sum.out.resize(at(value_dim(p.spec)), 0.0);
  for (int32_t branch = 0; branch < p.spec.num_branches; ++branch) {
    const AttendArgs args = args_of_branch(p.args, at(branch));
    const Row row = branch_row<T>({p.spec, p.batch, args, p.expressions, p.values, branch}, where);
    const T weight = static_cast<T>(
        p.args.branch_weights[at(int64_t{branch} * p.spec.num_heads_q + where.q_head)]);
    for (size_t d = 0; d < sum.out.size(); ++d) {
      sum.out[d] = double(static_cast<T>(sum.out[d]) + weight * static_cast<T>(row.out[d]));
    }
    sum.max_abs_score = std::fmax(sum.max_abs_score, row.max_abs_score);
    sum.max_abs_value += std::fabs(double(weight)) * row.max_abs_value;
    sum.max_mean_abs += std::fabs(double(weight)) * row.max_mean_abs;
    sum.visible_keys = std::max(sum.visible_keys, row.visible_keys);
  }
  return sum;
}

template <class T>
Row compute_row(const Problem& p, RowIndex where) {
  Row row = p.spec.num_branches == 1 ? branch_row<T>(p, where) : sum_of_branches<T>(p, where);
  apply_epilogue<T>(p, where, row);
  return row;
}

void store_partials(const Problem& p, RowIndex where, int64_t token, int64_t total_q) {
  const PartialView& partial = p.args.partial;
  const int64_t dim = value_dim(p.spec);
  for (int64_t split = 0; split < partial.num_splits; ++split) {
    const State<double> state =
        soften<double>(p, where, {split * kSplitKeys, (split + 1) * kSplitKeys});
    const int64_t at_state = (split * total_q + token) * p.spec.num_heads_q + where.q_head;
    partial.ref[at_state] = static_cast<float>(state.max);
    partial.sum[at_state] = static_cast<float>(state.sum);
    for (int64_t d = 0; d < dim; ++d) {
      partial.acc[at_state * dim + d] = static_cast<float>(state.acc[at(d)]);
    }
  }
}

}  // namespace

void rotate(const RotaryView& rotary, int64_t position, double* row) {
  rotate_row(rotary, position, row);
}

void store_lse(const LseView& view, int64_t token, int64_t head, int64_t total_q, int64_t heads,
               double natural) {
  if (view.data == nullptr) return;
  double value = view.base == LseBase::kTwo ? natural * kLog2E : natural;
  if (natural == -kInfinity && view.empty == LseEmpty::kPlusInf) value = kInfinity;
  const int64_t index =
      view.order == LseOrder::kHeadsFirst ? head * total_q + token : token * heads + head;
  view.data[index] = static_cast<float>(value);
}

Row attend_row(const AttentionSpec& spec, const SequenceBatch& batch, const AttendArgs& args,
               RowIndex where) {
  Expressions expressions(spec, batch, args);
  return compute_row<double>({spec, batch, args, expressions, args.kv}, where);
}

Row naive_row(const AttentionSpec& spec, const SequenceBatch& batch, const AttendArgs& args,
              RowIndex where) {
  Expressions expressions(spec, batch, args);
  return compute_row<float>({spec, batch, args, expressions, args.kv}, where);
}

void attend(const AttentionSpec& spec, const SequenceBatch& batch, const AttendArgs& args) {
  Expressions expressions(spec, batch, args);
  const Problem problem{spec, batch, args, expressions, args.kv};
  const int64_t total_q = batch.batch_size() > 0 ? batch.cu_seqlens_q.back() : 0;
  for (int64_t seq = 0; seq < batch.batch_size(); ++seq) {
    const Sequence s = sequence_of(batch, seq);
    for (int64_t token = 0; token < s.q_len; ++token) {
      for (int64_t head = 0; head < spec.num_heads_q; ++head) {
        if (args.stop.stop_requested()) return;
        const RowIndex where{seq, token, head};
        const int64_t q_row = s.first_row + token;
        if (args.partial.acc != nullptr) {
          store_partials(problem, where, q_row, total_q);
          continue;
        }
        const Row row = compute_row<double>(problem, where);
        const int64_t offset = q_row * args.out.strides[0] + head * args.out.strides[1];
        for (int64_t d = 0; d < std::ssize(row.out); ++d) {
          store(args.out.dtype, args.out.data, offset + d, row.out[at(d)]);
        }
        store_lse(args.lse, q_row, head, total_q, spec.num_heads_q, row.lse);
        if (args.row_max != nullptr) {
          args.row_max[head * total_q + q_row] = static_cast<float>(row.max);
        }
      }
    }
  }
}

}  // namespace attnrt::reference
