// SPDX-License-Identifier: Apache-2.0
// What one call cannot be faster than: the larger of reading its K and V once and multiplying its
// visible scores, at the rates that this machine was measured to reach.
#pragma once

#include <cstdint>

namespace attnrt::perf {

/// What one call has to do at least.
struct Work {
  int64_t kv_bytes = 0;  // K and V that some row sees, once
  int64_t flops = 0;     // two per multiply-add of visible scores: 2 * (Dqk + Dv) each
};

/// Sequences that are all alike, as a sweep makes them.
struct WorkShape {
  int64_t batch = 1;
  int64_t q_len = 1;
  int64_t kv_len = 1;
  int64_t heads_q = 1;
  int64_t heads_kv = 1;
  int64_t head_dim = 1;
  int64_t head_dim_v = 1;
  int64_t kv_element_bytes = 2;
  bool causal = false;
  int64_t window_left = -1;  // keys before a row's position that it sees; -1: all
};

Work work_of(const WorkShape& shape);

/// Of several calls, or several sequences of one.
Work operator+(const Work& a, const Work& b);

/// Rates measured beside the kernel, with as many threads.
struct Rates {
  double read_bytes_per_second = 0.0;
  double flops_per_second = 0.0;
};

enum class Bound : uint8_t { kMemory, kCompute };

struct Limit {
  double seconds = 0.0;
  Bound bound = Bound::kMemory;
};

Limit limit_of(const Work& work, const Rates& rates);

/// 100 where the call is as fast as its limit; 0 for a call without work.
double limit_percent(const Limit& limit, double seconds);

}  // namespace attnrt::perf
