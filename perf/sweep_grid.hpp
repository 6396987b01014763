// SPDX-License-Identifier: Apache-2.0
// What a sweep measures: every combination of its lists, less those that mean nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attnrt/kv_cache.hpp"
#include "perf/limits.hpp"
#include "perf/parse.hpp"

namespace attnrt::perf {

/// In SweepLists::q_len: as many queries as keys, which is a whole prefill.
inline constexpr int64_t kQueryPerKey = 0;

/// Each is one axis. The last one changes fastest.
struct SweepLists {
  std::vector<DType> dtypes{DType::kBF16};
  std::vector<Heads> heads{{32, 8}};
  std::vector<int64_t> head_dims{128};
  std::vector<int64_t> head_dims_v{0};  // 0: as head_dim
  std::vector<KvLayout> layouts{KvLayout::kNHD};
  std::vector<int64_t> page_sizes{16};  // not for packed, which has one row for all of them
  std::vector<bool> causal{false};
  std::vector<int64_t> windows{0};      // newest keys that a query sees, its own included; 0: all
  std::vector<std::string> masks{""};   // as SweepCase::mask
  std::vector<std::string> scores{""};  // as SweepCase::score
  std::vector<int64_t> batches{1};
  std::vector<int64_t> q_lens{1};
  std::vector<int64_t> kv_lens{4096};
  std::vector<int64_t> ragged{0};  // as SweepCase::ragged
  std::vector<int64_t> threads{1};
  std::vector<std::string> isas{""};  // "": the library's choice
};

/// One combination: `batch` sequences that are all alike, or ragged ones.
struct SweepCase {
  DType dtype = DType::kBF16;  // of K, V, q and out
  Heads heads;
  int32_t head_dim = 0;
  int32_t head_dim_v = 0;
  KvLayout layout = KvLayout::kNHD;
  int32_t page_size = 0;  // 0: packed
  bool causal = false;
  int32_t window = 0;  // newest keys that a query sees, its own included; 0: all
  int32_t batch = 0;
  int32_t q_len = 0;
  int32_t kv_len = 0;
  int32_t ragged = 0;  // > 0: lengths are random multiples of it, at most kv_len
  int32_t threads = 0;
  std::string isa;
  float softcap = 0.0f;
  std::string mask;   // of named_mask(), and-ed with causal and window; "": none
  std::string score;  // of named_score(), after softcap; "": none

  bool operator==(const SweepCase&) const = default;
};

/// The same shape with every row seeing every key, and scores as they are.
SweepCase dense_case(const SweepCase& sweep_case);

/// All combinations in order. `skipped` gets one line for each that cannot be: it names the
/// combination and the reason.
std::vector<SweepCase> expand(const SweepLists& lists, float softcap,
                              std::vector<std::string>& skipped);

/// "bf16 32/8 D128 nhd 16 batch 1 q 1 kv 4096 threads 2", for messages and progress.
std::string describe(const SweepCase& sweep_case);

struct SequenceLengths {
  int32_t q = 0;
  int32_t kv = 0;
};

/// Of all sequences of a case. Ragged ones are the same in every run: kv is drawn evenly; q is kv
/// where the case is a whole prefill (q_len = kv_len), else q_len, which no kv is shorter than.
std::vector<SequenceLengths> sequence_lengths(const SweepCase& sweep_case);

/// What one call has to do at least, the mask left out.
Work work_of(const SweepCase& sweep_case);

}  // namespace attnrt::perf
