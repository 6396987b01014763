// SPDX-License-Identifier: Apache-2.0
// Every combination of a sweep's lists, less those that mean nothing.
#include "perf/sweep_grid.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "perf/random.hpp"

namespace attnrt::perf {
namespace {

// An axis sets its field of `c` to each of its values in turn and goes on with the next axis.
using Next = std::function<void(SweepCase&)>;

template <class T, class Set>
Next axis(const std::vector<T>& values, Set set, Next next) {
  return [&values, set, next](SweepCase& c) {
    for (const T& value : values) {
      set(c, value);
      next(c);
    }
  };
}

// Pages of a packed cache do not exist, so their sizes make no rows of their own.
Next page_axis(const std::vector<int64_t>& sizes, Next next) {
  return [&sizes, next](SweepCase& c) {
    for (const int64_t size : sizes) {
      c.page_size = c.layout == KvLayout::kPacked ? 0 : static_cast<int32_t>(size);
      next(c);
      if (c.layout == KvLayout::kPacked) return;
    }
  };
}

// Empty where the combination can be measured.
std::string why_not(const SweepCase& c) {
  if (c.q_len > c.kv_len && c.causal) {
    return "more queries than keys: the keys include those of the queries when causal";
  }
  constexpr int64_t kMaxTokens = INT32_MAX;
  if (int64_t{c.batch} * c.q_len > kMaxTokens) return "batch x q-len is beyond 2^31 - 1";
  if (int64_t{c.batch} * c.kv_len > kMaxTokens) return "batch x kv-len is beyond 2^31 - 1";
  if (c.layout == KvLayout::kPacked16 && c.page_size % 16 != 0) {
    return "packed16 pages hold a multiple of 16 keys";
  }
  if (c.ragged > c.kv_len) return "ragged lengths are multiples of more than kv-len";
  constexpr int32_t kLeastTokens = 64;  // of NamedShape
  if (!(c.mask.empty() && c.score.empty()) && c.kv_len < std::max(kLeastTokens, c.q_len)) {
    return "masks and scores are made for 64 keys or more, those of the queries included";
  }
  return {};
}

template <class T>
int32_t narrow(T value) {
  return static_cast<int32_t>(value);
}

}  // namespace

std::vector<SweepCase> expand(const SweepLists& lists, float softcap,
                              std::vector<std::string>& skipped) {
  std::vector<SweepCase> cases;
  Next next = [&](SweepCase& c) {
    const std::string reason = why_not(c);
    if (reason.empty()) {
      cases.push_back(c);
    } else {
      skipped.push_back(fmt::format("{}: {}", describe(c), reason));
    }
  };
  next = axis(
      lists.isas, [](SweepCase& c, const std::string& v) { c.isa = v; }, next);
  next = axis(
      lists.threads, [](SweepCase& c, int64_t v) { c.threads = narrow(v); }, next);
  // Queries before keys in the order of rows, but set after them: they may be as many.
  next = [&lists, next](SweepCase& c) {
    for (const int64_t q_len : lists.q_lens) {
      for (const int64_t kv_len : lists.kv_lens) {
        c.kv_len = narrow(kv_len);
        c.q_len = q_len == kQueryPerKey ? c.kv_len : narrow(q_len);
        next(c);
      }
    }
  };
  next = axis(
      lists.ragged, [](SweepCase& c, int64_t v) { c.ragged = narrow(v); }, next);
  next = axis(
      lists.batches, [](SweepCase& c, int64_t v) { c.batch = narrow(v); }, next);
  next = axis(
      lists.scores, [](SweepCase& c, const std::string& v) { c.score = v; }, next);
  next = axis(
      lists.masks, [](SweepCase& c, const std::string& v) { c.mask = v; }, next);
  next = axis(
      lists.windows, [](SweepCase& c, int64_t v) { c.window = narrow(v); }, next);
  next = axis(
      lists.causal, [](SweepCase& c, bool v) { c.causal = v; }, next);
  next = page_axis(lists.page_sizes, next);
  next = axis(
      lists.layouts, [](SweepCase& c, KvLayout v) { c.layout = v; }, next);
  next = axis(
      lists.head_dims_v,
      [](SweepCase& c, int64_t v) { c.head_dim_v = v == 0 ? c.head_dim : narrow(v); }, next);
  next = axis(
      lists.head_dims, [](SweepCase& c, int64_t v) { c.head_dim = narrow(v); }, next);
  next = axis(
      lists.heads, [](SweepCase& c, Heads v) { c.heads = v; }, next);
  next = axis(
      lists.dtypes, [](SweepCase& c, DType v) { c.dtype = v; }, next);
  SweepCase first;
  first.softcap = softcap;
  next(first);
  return cases;
}

std::string describe(const SweepCase& c) {
  std::string text =
      fmt::format("{} {}/{} D{}", to_string(c.dtype), c.heads.q, c.heads.kv, c.head_dim);
  if (c.head_dim_v != c.head_dim) text += fmt::format("/{}", c.head_dim_v);
  text += fmt::format(" {}", to_string(c.layout));
  if (c.page_size > 0) text += fmt::format(" {}", c.page_size);
  if (c.causal) text += " causal";
  if (c.window > 0) text += fmt::format(" window {}", c.window);
  if (!c.mask.empty()) text += fmt::format(" mask {}", c.mask);
  if (!c.score.empty()) text += fmt::format(" score {}", c.score);
  if (c.ragged > 0) text += fmt::format(" ragged {}", c.ragged);
  text += fmt::format(" batch {} q {} kv {} threads {}", c.batch, c.q_len, c.kv_len, c.threads);
  return c.isa.empty() ? text : text + " " + c.isa;
}

SweepCase dense_case(const SweepCase& sweep_case) {
  SweepCase dense = sweep_case;
  dense.causal = false;
  dense.window = 0;
  dense.softcap = 0.0f;
  dense.mask.clear();
  dense.score.clear();
  return dense;
}

std::vector<SequenceLengths> sequence_lengths(const SweepCase& c) {
  std::vector<SequenceLengths> lengths(static_cast<size_t>(c.batch), {c.q_len, c.kv_len});
  if (c.ragged == 0) return lengths;
  constexpr uint64_t kSeed = 1;
  Random random(kSeed);
  const auto choices = static_cast<uint64_t>(c.kv_len / c.ragged);
  for (SequenceLengths& sequence : lengths) {
    const auto kv = static_cast<int32_t>(random.below(choices) + 1) * c.ragged;
    const bool prefill = c.q_len == c.kv_len;
    sequence = prefill ? SequenceLengths{kv, kv} : SequenceLengths{c.q_len, std::max(kv, c.q_len)};
  }
  return lengths;
}

Work work_of(const SweepCase& c) {
  WorkShape shape;
  shape.heads_q = c.heads.q;
  shape.heads_kv = c.heads.kv;
  shape.head_dim = c.head_dim;
  shape.head_dim_v = c.head_dim_v;
  shape.kv_element_bytes = size_of(c.dtype);
  shape.causal = c.causal;
  shape.window_left = c.window - 1;
  if (c.ragged == 0) {
    shape.batch = c.batch;
    shape.q_len = c.q_len;
    shape.kv_len = c.kv_len;
    return work_of(shape);
  }
  Work work;
  for (const SequenceLengths& sequence : sequence_lengths(c)) {
    shape.q_len = sequence.q;
    shape.kv_len = sequence.kv;
    work = work + work_of(shape);
  }
  return work;
}

}  // namespace attnrt::perf
