// SPDX-License-Identifier: Apache-2.0
// What one call cannot be faster than.
#include "perf/limits.hpp"

#include <algorithm>

namespace attnrt::perf {
namespace {

// Keys that the query token at `position` sees: [begin, end).
struct Keys {
  int64_t begin = 0;
  int64_t end = 0;
};

Keys visible(const WorkShape& shape, int64_t position) {
  Keys keys;
  keys.end = shape.causal ? std::min(shape.kv_len, position + 1) : shape.kv_len;
  keys.begin = shape.window_left < 0 ? 0 : std::max<int64_t>(0, position - shape.window_left);
  if (keys.begin >= keys.end) return {};
  return keys;
}

}  // namespace

Work work_of(const WorkShape& shape) {
  int64_t scores = 0;
  int64_t begin = shape.kv_len;
  int64_t end = 0;
  for (int64_t i = 0; i < shape.q_len; ++i) {
    const Keys keys = visible(shape, shape.kv_len - shape.q_len + i);
    if (keys.begin == keys.end) continue;
    scores += keys.end - keys.begin;
    begin = std::min(begin, keys.begin);
    end = std::max(end, keys.end);
  }
  const int64_t dims = shape.head_dim + shape.head_dim_v;
  const int64_t keys = std::max<int64_t>(0, end - begin);
  Work work;
  work.kv_bytes = shape.batch * keys * shape.heads_kv * dims * shape.kv_element_bytes;
  work.flops = shape.batch * scores * shape.heads_q * dims * 2;
  return work;
}

Limit limit_of(const Work& work, const Rates& rates) {
  const double read = static_cast<double>(work.kv_bytes) / rates.read_bytes_per_second;
  const double multiply = static_cast<double>(work.flops) / rates.flops_per_second;
  return read >= multiply ? Limit{read, Bound::kMemory} : Limit{multiply, Bound::kCompute};
}

Work operator+(const Work& a, const Work& b) {
  return {a.kv_bytes + b.kv_bytes, a.flops + b.flops};
}

double limit_percent(const Limit& limit, double seconds) {
  return seconds > 0.0 ? 100.0 * limit.seconds / seconds : 0.0;
}

}  // namespace attnrt::perf
