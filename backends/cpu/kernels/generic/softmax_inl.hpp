// SPDX-License-Identifier: Apache-2.0
// Scores of rows against one block of keys: scaled, masked, exponentiated against the row's running
// maximum. Everything here is decided by the row alone. Maxima, rescaling factors and exponentials
// are three passes over the rows, so that the horizontal steps of one row do not wait for
// another's.
#pragma once

#include "backends/cpu/kernels/generic/expr_lanes_inl.hpp"

namespace attnrt::cpu {
namespace {

alignas(64) constexpr float kLaneNumbers[kLineColumns] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                          8, 9, 10, 11, 12, 13, 14, 15};

// What one row is, for one block.
struct RowBlock {
  int32_t first, last;    // lanes of the block that the row sees
  float distance;         // logical position of the row less that of lane 0
  float slope;            // ALiBi
  const uint64_t* words;  // null, or the lanes it sees
};

template <class Isa>
inline typename Isa::Vec lane_numbers(int32_t lane) {
  using Vec = typename Isa::Vec;
  return Vec::load_aligned(kLaneNumbers + lane % kLineColumns) +
         Vec(static_cast<float>(lane / kLineColumns * kLineColumns));
}

// Scale, soft cap and ALiBi, in natural units.
template <class Isa>
inline typename Isa::Vec natural_score(const AttendTask& task, const RowBlock& row,
                                       typename Isa::Vec s, int32_t lane) {
  using Vec = typename Isa::Vec;
  s = s * Vec(task.scale);
  if (task.softcap > 0.0f) s = Vec(task.softcap) * tanh<Isa>(s / Vec(task.softcap));
  if (task.alibi != nullptr) {
    const Vec distance = xsimd::abs(Vec(row.distance) - lane_numbers<Isa>(lane));
    s = Isa::fma(Vec(-row.slope), distance, s);
  }
  return s;
}

// Scores of lanes that the row does not see become -inf.
template <class Isa>
inline typename Isa::Vec masked_by_words(const uint64_t* words, typename Isa::Vec s, int32_t lane) {
  using Vec = typename Isa::Vec;
  const uint64_t bits = words[lane / kWordLanes] >> (lane % kWordLanes);
  return Isa::choose(static_cast<uint32_t>(bits), s, Vec(-kInfinity));
}
template <class Isa>
inline typename Isa::Vec masked_by_ends(const RowBlock& row, typename Isa::Vec s, int32_t lane) {
  using Vec = typename Isa::Vec;
  const Vec number = lane_numbers<Isa>(lane);
  const Vec first(static_cast<float>(row.first));
  const Vec last(static_cast<float>(row.last));
  return xsimd::select(number >= first && number < last, s, Vec(-kInfinity));
}

// Scores s of one row to change(s, lane), or to -inf where the row sees no key, in lanes
// [begin, end): whole vectors. Returns the largest. A loop for each way of hiding keys: with the
// choice inside, loops took twice as long.
template <class Isa, class Change>
[[gnu::always_inline]] inline float change_row(const RowBlock& row, int32_t begin, int32_t end,
                                               float* scores, const Change& change) {
  using Vec = typename Isa::Vec;
  const auto pass = [&](const auto& hide) {
    Vec largest(-kInfinity);
    for (int32_t lane = begin; lane < end; lane += Isa::kLanes) {
      const Vec s = hide(change(Vec::load_aligned(scores + lane), lane), lane);
      s.store_aligned(scores + lane);
      largest = xsimd::max(largest, s);
    }
    return Isa::reduce_max(largest);
  };
  if (const uint64_t* words = row.words) {
    return pass([=](Vec s, int32_t lane) { return masked_by_words<Isa>(words, s, lane); });
  }
  if (row.first <= begin && row.last >= end) return pass([](Vec s, int32_t) { return s; });
  return pass([&](Vec s, int32_t lane) { return masked_by_ends<Isa>(row, s, lane); });
}

inline bool only_scaled(const AttendTask& task) {
  return !(task.softcap > 0.0f) && task.alibi == nullptr;
}

// Scores that nobody but the softmax reads stay products until they become weights: their maximum
// times the scale is that of the scores, rounded or not.
inline bool stay_products(const AttendTask& task) {
  return only_scaled(task) && task.scale > 0.0f && !task.pointwise && task.score.code == nullptr &&
         task.score_hook.call == nullptr && task.weight_hook.call == nullptr;
}

// Of the numbers in `scores` and of their references, in natural units.
inline float score_unit(const AttendTask& task) { return stay_products(task) ? task.scale : 1.0f; }

// Products of one row to scores, as change_row.
template <class Isa>
inline float score_row(const AttendTask& task, const RowBlock& row, int32_t begin, int32_t end,
                       float* scores) {
  using Vec = typename Isa::Vec;
  if (only_scaled(task)) {
    const Vec scale(task.scale);
    return change_row<Isa>(row, begin, end, scores, [=](Vec s, int32_t) { return s * scale; });
  }
  return change_row<Isa>(row, begin, end, scores, [&](Vec s, int32_t lane) {
    return natural_score<Isa>(task, row, s, lane);
  });
}

// The same in two steps, between which a program changes the scores.
template <class Isa>
inline void natural_row(const AttendTask& task, const RowBlock& row, int32_t begin, int32_t end,
                        float* scores) {
  using Vec = typename Isa::Vec;
  for (int32_t lane = begin; lane < end; lane += Isa::kLanes) {
    natural_score<Isa>(task, row, Vec::load_aligned(scores + lane), lane)
        .store_aligned(scores + lane);
  }
}

template <class Isa>
inline float mask_row(const RowBlock& row, int32_t begin, int32_t end, float* scores) {
  using Vec = typename Isa::Vec;
  if (row.words == nullptr && row.first <= begin && row.last >= end) {
    Vec largest(-kInfinity);
    for (int32_t lane = begin; lane < end; lane += Isa::kLanes) {
      largest = xsimd::max(largest, Vec::load_aligned(scores + lane));
    }
    return Isa::reduce_max(largest);
  }
  return change_row<Isa>(row, begin, end, scores, [](Vec s, int32_t) { return s; });
}

// Moves the references of `count` rows up to their new maxima; rows of lower or NaN ones stay, and
// so does -inf, "nothing seen yet". Whole vectors: maxima beyond the rows are -inf, and the arrays
// go on for a vector, where only rescale changes.
template <class Isa>
inline void raise_refs(const float* maxima, int32_t count, float unit, float* refs,
                       float* rescales) {
  using Vec = typename Isa::Vec;
  for (int32_t i = 0; i < count; i += Isa::kLanes) {
    const Vec old = Vec::load_unaligned(refs + i);
    const Vec largest = Vec::load_aligned(maxima + i);
    const auto higher = largest > old;
    const Vec ref = xsimd::select(higher, largest, old);
    ref.store_unaligned(refs + i);
    const Vec factor = Isa::exp((old - ref) * Vec(unit));
    xsimd::select(higher, factor, Vec(1.0f)).store_unaligned(rescales + i);
  }
}

// What the weights of one row depend on, and where they are added up.
struct RowWeights {
  float unit, ref, rescale;
  float* lane_sums;
};

// Scores of one row to p = e^((s - ref) * unit), in place, as floats or as bf16 in the row's first
// half. The factor log2(e) comes after the subtraction: the rounding of s * log2(e) alone would be
// 6e-4 of p at |s| = 5e4, where the plain computation is exact. Where ref is -inf, 0 is used in its
// place, so that -inf - -inf never happens. NaN scores give NaN p, and through the sum a NaN row.
template <class Isa, class Lines, class Kv>
inline void weigh_row(int32_t begin, int32_t end, const RowWeights& row, float* scores) {
  using Vec = typename Isa::Vec;
  constexpr bool kExact = sizeof(typename Kv::Stored) == 4;
  const Vec ref(row.ref == -kInfinity ? 0.0f : row.ref);
  const Vec factor(kExact ? row.unit : row.unit * kLog2E);
  Vec sum = Vec::load_aligned(row.lane_sums) * Vec(row.rescale);
  const auto weight = [&](int32_t lane) {
    const Vec x = (Vec::load_aligned(scores + lane) - ref) * factor;
    // 16-bit K and V are coarser than what the shorter forms lose; p of a dot is rounded anyway.
    constexpr int kDegree = Lines::kDot ? 4 : 5;
    const Vec p = kExact ? Isa::exp(x) : Isa::template exp2<kDegree>(x);
    sum = sum + p;
    return p;
  };
  int32_t lane = begin;
  if constexpr (Lines::kDot) {
    auto* const weights = reinterpret_cast<uint16_t*>(scores);
    for (; lane + 2 * Isa::kLanes <= end; lane += 2 * Isa::kLanes) {
      const Vec low = weight(lane);
      Isa::store_two(Bf16{}, weights + lane, low, weight(lane + Isa::kLanes));
    }
    if (lane < end) Isa::store(Bf16{}, weights + lane, weight(lane));
  } else {
    for (; lane < end; lane += Isa::kLanes) weight(lane).store_aligned(scores + lane);
  }
  sum.store_aligned(row.lane_sums);
}

// Scores that are weights: what is hidden is -inf until here and weighs 0. A state's sum only says
// that the row has seen something.
template <class Isa, class Lines>
inline void weigh_pointwise_row(int32_t begin, int32_t end, float* lane_sums, float* scores) {
  using Vec = typename Isa::Vec;
  Vec sum = Vec::load_aligned(lane_sums);
  for (int32_t lane = begin; lane < end; lane += Isa::kLanes) {
    const Vec s = Vec::load_aligned(scores + lane);
    const auto hidden = s == Vec(-kInfinity);
    const Vec p = xsimd::select(hidden, Vec(0.0f), s);
    sum = xsimd::select(hidden, sum, Vec(1.0f));
    if constexpr (Lines::kDot) {
      Isa::store(Bf16{}, reinterpret_cast<uint16_t*>(scores) + lane, p);
    } else {
      p.store_aligned(scores + lane);
    }
  }
  sum.store_aligned(lane_sums);
}

// Weights of lanes that the row does not see become 0 again.
template <class Isa>
inline void hide_row(const RowBlock& row, int32_t begin, int32_t end, float* weights) {
  using Vec = typename Isa::Vec;
  for (int32_t lane = begin; lane < end; lane += Isa::kLanes) {
    const Vec p = Vec::load_aligned(weights + lane);
    const Vec s = row.words != nullptr ? masked_by_words<Isa>(row.words, p, lane)
                                       : masked_by_ends<Isa>(row, p, lane);
    xsimd::select(s == Vec(-kInfinity), Vec(0.0f), s).store_aligned(weights + lane);
  }
}

}  // namespace
}  // namespace attnrt::cpu
