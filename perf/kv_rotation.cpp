// SPDX-License-Identifier: Apache-2.0
// Copies of one call's K and V that are used in turn.
#include "perf/kv_rotation.hpp"

#include <algorithm>
#include <numeric>
#include <random>

namespace attnrt::perf {
namespace {

constexpr int64_t kMinRotationBytes = int64_t{512} << 20;
constexpr int64_t kGoodTurn = 8;  // caches
constexpr int64_t kLeastTurn = 2;

// Packed sequences stand one after the other; pages are there for kv_len keys of each.
int64_t total_keys(const SweepCase& c) {
  int64_t keys = 0;
  for (const SequenceLengths& sequence : sequence_lengths(c)) keys += sequence.kv;
  return keys;
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Elements of a key as it is stored.
int64_t columns(const SweepCase& c, int32_t dim) {
  return c.layout == KvLayout::kPacked16 ? divide_up(dim, 16) * 16 : dim;
}

}  // namespace

int64_t rotation_bytes_for(int64_t llc_bytes) {
  return std::max(kGoodTurn * llc_bytes, kMinRotationBytes);
}

int64_t choose_copies(int64_t copy_bytes, int64_t read_bytes, const ColdRule& rule) {
  if (copy_bytes <= 0 || read_bytes <= 0) return rule.budget_bytes > 0 ? 1 : 0;
  // Two at least: a call that reads more than the caches hold still leaves its last keys there.
  const int64_t turn = std::max(rule.rotation_bytes, kLeastTurn * rule.llc_bytes);
  int64_t copies = std::max<int64_t>(2, divide_up(turn, read_bytes));
  copies = std::min(copies, rule.budget_bytes / copy_bytes);
  if (copies > 2 && copies % 2 == 0) {
    copies += (copies + 1) * copy_bytes <= rule.budget_bytes ? 1 : -1;
  }
  return copies * read_bytes >= kLeastTurn * rule.llc_bytes ? copies : 0;
}

int64_t kv_copy_bytes(const SweepCase& c) {
  const int64_t tokens =
      c.page_size == 0 ? total_keys(c) : c.batch * divide_up(c.kv_len, c.page_size) * c.page_size;
  return tokens * c.heads.kv * (columns(c, c.head_dim) + columns(c, c.head_dim_v)) *
         size_of(c.dtype);
}

KvRotation::KvRotation(const SweepCase& sweep_case, int64_t copies)
    : case_(sweep_case), copies_(copies), element_bytes_(size_of(sweep_case.dtype)) {
  int64_t unit_tokens = total_keys(case_);
  if (case_.page_size > 0) {
    pages_per_sequence_ = static_cast<int32_t>(divide_up(case_.kv_len, case_.page_size));
    unit_tokens = case_.page_size;
    units_ = int64_t{case_.batch} * pages_per_sequence_;
    pages_.resize(static_cast<size_t>(units_));
    std::iota(pages_.begin(), pages_.end(), 0);
    std::shuffle(pages_.begin(), pages_.end(), std::mt19937(1));
  }
  k_unit_ = unit_tokens * case_.heads.kv * columns(case_, case_.head_dim);
  v_unit_ = unit_tokens * case_.heads.kv * columns(case_, case_.head_dim_v);
}

KvView KvRotation::view(std::byte* memory, int64_t index) const {
  if (case_.layout == KvLayout::kPacked16) {
    const int64_t unit = k_unit_ + v_unit_;
    KvView view =
        KvView::packed16(memory + index * unit * element_bytes_, case_.dtype, units_,
                         case_.page_size, case_.heads.kv, case_.head_dim, case_.head_dim_v);
    view.k_strides.page = view.v_strides.page = copies_ * unit;
    return view;
  }
  std::byte* const k = memory + index * k_unit_ * element_bytes_;
  std::byte* const v_begin = memory + copies_ * units_ * k_unit_ * element_bytes_;
  std::byte* const v = v_begin + index * v_unit_ * element_bytes_;
  if (case_.page_size == 0) {
    return KvView::packed(k, v, case_.dtype, total_keys(case_), case_.heads.kv, case_.head_dim,
                          case_.head_dim_v);
  }
  KvView view = KvView::paged(k, v, case_.dtype, case_.layout, units_, case_.page_size,
                              case_.heads.kv, case_.head_dim, case_.head_dim_v);
  view.k_strides.page = copies_ * k_unit_;
  view.v_strides.page = copies_ * v_unit_;
  return view;
}

}  // namespace attnrt::perf
