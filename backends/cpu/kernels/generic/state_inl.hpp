// SPDX-License-Identifier: Apache-2.0
// Softmax states: folding two of them, and turning one into a finished row. The kernel that folds
// its own splits and the merge of partials call the same functions in the same order, so both give
// the same bits. An empty state is (acc 0, ref -inf, sum 0); only an empty one has sum 0.
#pragma once

#include "backends/cpu/kernels/generic/rotary_inl.hpp"
#include "backends/cpu/kernels/generic/simd_inl.hpp"

namespace attnrt::cpu {
namespace {

struct State {
  float ref;
  float sum;
};

// to[0..n) = to * a + from * b by whole and partial vectors; rows need no padding.
template <class Isa>
inline void fold_values(float* to, float a, const float* from, float b, int32_t n) {
  using Vec = typename Isa::Vec;
  int32_t d = 0;
  for (; d + Isa::kLanes <= n; d += Isa::kLanes) {
    const Vec scaled = Vec::load_unaligned(from + d) * Vec(b);
    Isa::fma(Vec::load_unaligned(to + d), Vec(a), scaled).store_unaligned(to + d);
  }
  if (d == n) return;
  const Vec scaled = load_part<Isa>(F32{}, from + d, n - d) * Vec(b);
  const Vec sum = Isa::fma(load_part<Isa>(F32{}, to + d, n - d), Vec(a), scaled);
  store_part<Isa>(F32{}, to + d, n - d, sum);
}

// Padded to whole lines.
template <class Isa>
inline void scale_values(float* values, float factor, int64_t n) {
  using Vec = typename Isa::Vec;
  for (int64_t d = 0; d < n; d += Isa::kLanes) {
    (Vec::load_aligned(values + d) * Vec(factor)).store_aligned(values + d);
  }
}

inline void copy_floats(float* to, const float* from, int32_t n) {
  __builtin_memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}

// What two states are multiplied with to have one reference.
struct FoldFactors {
  float ref, total, next;
};

// Empty states change nothing, not even the sign of a zero. A NaN state is not empty.
template <class Isa>
inline void fold_by(const FoldFactors& factors, State& total, float* total_acc, const State& next,
                    const float* acc, int32_t n) {
  if (next.sum == 0.0f) return;
  if (total.sum == 0.0f) {
    total = next;
    copy_floats(total_acc, acc, n);
    return;
  }
  total = {factors.ref, total.sum * factors.total + next.sum * factors.next};
  fold_values<Isa>(total_acc, factors.total, acc, factors.next, n);
}

template <class Isa>
inline void fold(State& total, float* total_acc, const State& next, const float* acc, int32_t n) {
  const float ref = total.ref > next.ref ? total.ref : next.ref;
  const FoldFactors factors{ref, exp_scalar<Isa>(total.ref - ref), exp_scalar<Isa>(next.ref - ref)};
  fold_by<Isa>(factors, total, total_acc, next, acc, n);
}

// States of rows one after the other; arrays go on for a vector.
struct StateRows {
  float *ref, *sum, *acc;
};

// fold of up to a vector of rows with `stride` floats of acc each, which are padded to whole lines:
// the same bits, and two exponentials for all of them instead of for each.
template <class Isa>
inline void fold_rows(const StateRows& total, const StateRows& next, int32_t count,
                      int64_t stride) {
  using Vec = typename Isa::Vec;
  alignas(64) float refs[Isa::kLanes], a[Isa::kLanes], b[Isa::kLanes];
  const Vec old = Vec::load_unaligned(total.ref);
  const Vec more = Vec::load_unaligned(next.ref);
  const Vec ref = xsimd::select(old > more, old, more);
  ref.store_aligned(refs);
  Isa::exp(old - ref).store_aligned(a);
  Isa::exp(more - ref).store_aligned(b);
  for (int32_t i = 0; i < count; ++i) {
    State state{total.ref[i], total.sum[i]};
    fold_by<Isa>({refs[i], a[i], b[i]}, state, total.acc + i * stride, {next.ref[i], next.sum[i]},
                 next.acc + i * stride, static_cast<int32_t>(stride));
    total.ref[i] = state.ref;
    total.sum[i] = state.sum;
  }
}

// Which of two NaNs an operation hands on depends on the order of its operands, which is the
// compiler's choice and not the same for every tile height: results have one NaN.
inline float one_nan(float x) { return x == x ? x : __builtin_nanf(""); }

// out[0..n) = acc * factor / sum. Adding 0 makes every zero positive: whether a vanished negative
// sum is -0 or 0 depends on zeros added for keys that the row does not see.
template <class Isa, class Out>
inline void write_values(Out out, typename Out::Stored* to, const float* acc, float factor,
                         float sum, int32_t n) {
  using Vec = typename Isa::Vec;
  const auto finished = [&](Vec x) {
    x = x * Vec(factor) / Vec(sum) + Vec(0.0f);
    return xsimd::select(x == x, x, Vec(__builtin_nanf("")));
  };
  int32_t d = 0;
  for (; d + Isa::kLanes <= n; d += Isa::kLanes) {
    Isa::store(out, to + d, finished(Vec::load_unaligned(acc + d)));
  }
  if (d < n) {
    const Vec x = load_part<Isa>(F32{}, acc + d, n - d);
    store_part<Isa>(out, to + d, n - d, finished(x));
  }
}

template <class Isa>
inline void write_row(const OutputTarget& out, int64_t offset, const float* acc, const State& state,
                      float factor, int32_t n) {
  if (state.sum == 0.0f) {
    const int64_t bytes = out.dtype == DType::kF32 ? 4 : 2;
    __builtin_memset(static_cast<char*>(out.out) + offset * bytes, 0,
                     static_cast<size_t>(n * bytes));
  } else if (out.dtype == DType::kF32) {
    write_values<Isa>(F32{}, static_cast<float*>(out.out) + offset, acc, factor, state.sum, n);
  } else if (out.dtype == DType::kBF16) {
    write_values<Isa>(Bf16{}, static_cast<uint16_t*>(out.out) + offset, acc, factor, state.sum, n);
  } else {
    write_values<Isa>(F16{}, static_cast<uint16_t*>(out.out) + offset, acc, factor, state.sum, n);
  }
}

// Not for empty rows: their sum is 0. The sum of all others is at least 1.
inline float lse_of(const OutputTarget& out, const State& state) {
  const float natural = one_nan(state.ref + __builtin_logf(state.sum));
  return out.lse_base == LseBase::kTwo ? natural * kLog2E : natural;
}

// Of an epilogue's operands, at a time.
constexpr int32_t kEpilogueColumns = 64;

// acc = gate * (scale * acc) + residual, one operation at a time as it is written.
template <class Isa>
inline void apply_epilogue(const OutputTarget& out, int64_t token, int64_t head, float* acc,
                           int32_t n) {
  alignas(64) float operand[kEpilogueColumns];
  const auto offset_of = [&](const OutputTarget::Operand& of) {
    return token * of.token_stride + head * of.head_stride;
  };
  for (int32_t begin = 0; begin < n; begin += kEpilogueColumns) {
    const int32_t count = n - begin < kEpilogueColumns ? n - begin : kEpilogueColumns;
    float* values = acc + begin;
    for (int32_t d = 0; d < count; ++d) values[d] *= out.scale;
    if (out.gate.data != nullptr) {
      load_row<Isa>(out.gate.dtype, out.gate.data, offset_of(out.gate) + begin, count, operand);
      for (int32_t d = 0; d < count; ++d) values[d] *= operand[d];
    }
    if (out.residual.data != nullptr) {
      load_row<Isa>(out.residual.dtype, out.residual.data, offset_of(out.residual) + begin, count,
                    operand);
      for (int32_t d = 0; d < count; ++d) values[d] += operand[d];
    }
  }
}

// The row as it would be written, in acc: then nothing is left to divide by.
template <class Isa>
inline void finish_values(float* acc, float factor, State& state, int32_t n) {
  if (state.sum == 0.0f) {
    __builtin_memset(acc, 0, static_cast<size_t>(n) * sizeof(float));
  } else {
    for (int32_t d = 0; d < n; ++d) acc[d] = acc[d] * factor / state.sum;
  }
  state.sum = 1.0f;
}

// A row of out.
struct RowPlace {
  int64_t token, head;
};

// The sink joins the sum once; a larger one than every score becomes the reference, so nothing
// overflows. Returns what acc is to be multiplied with. Not for rows without keys.
template <class Isa>
inline float add_sink(float sink, State& state) {
  if (sink > state.ref) {
    const float factor = exp_scalar<Isa>(state.ref - sink);
    state = {sink, state.sum * factor + 1.0f};
    return factor;
  }
  if (sink != -kInfinity) state.sum += exp_scalar<Isa>(sink - state.ref);
  return 1.0f;
}

// One branch of a row.
struct BranchState {
  float* acc;  // changed
  State state;
};

// total = weight * attention of branch 0, += that of the others, in their order.
template <class Isa>
inline void add_branch(const OutputTarget& out, RowPlace at, int32_t branch, BranchState from,
                       float* total, int32_t n) {
  const bool empty = from.state.sum == 0.0f;
  if (out.pointwise && !empty) from.state.sum = 1.0f;
  float factor = 1.0f;
  if (out.sinks != nullptr && !empty) factor = add_sink<Isa>(out.sinks[at.head], from.state);
  finish_values<Isa>(from.acc, factor, from.state, n);
  const float weight = out.branch_weights[int64_t{branch} * out.heads_q + at.head];
  for (int32_t d = 0; d < n; ++d) {
    const float weighed = weight * from.acc[d];
    total[d] = branch == 0 ? weighed : total[d] + weighed;
  }
}

// The epilogue, and the row as it is then.
template <class Isa>
inline void write_result(const OutputTarget& out, RowPlace at, float* acc, int32_t n) {
  apply_epilogue<Isa>(out, at.token, at.head, acc, n);
  write_row<Isa>(out, at.token * out.token_stride + at.head * out.head_stride, acc, {0.0f, 1.0f},
                 1.0f, n);
}

// Writes out and lse of one row; changes acc. A row without keys is 0, its lse that of the sink.
template <class Isa>
inline void finish_row(const OutputTarget& out, RowPlace at, float* acc, State state, int32_t n) {
  const bool empty = state.sum == 0.0f;
  if (out.row_max != nullptr) {
    // A NaN score is passed over by the maximum or hides what came before, by where it stands; the
    // sum always has it.
    const float largest = state.sum == state.sum ? state.ref : __builtin_nanf("");
    out.row_max[at.token + at.head * out.row_max_head_stride] = empty ? -kInfinity : largest;
  }
  if (out.pointwise && !empty) state.sum = 1.0f;
  float factor = 1.0f;
  float lse = out.lse_empty == LseEmpty::kPlusInf ? kInfinity : -kInfinity;
  if (out.sinks != nullptr) {
    const float sink = out.sinks[at.head];
    if (!empty) {
      factor = add_sink<Isa>(sink, state);
    } else if (sink != -kInfinity) {
      lse = out.lse_base == LseBase::kTwo ? sink * kLog2E : sink;
    }
  }
  if (out.lse != nullptr) {
    out.lse[at.token * out.lse_token_stride + at.head * out.lse_head_stride] =
        empty ? lse : lse_of(out, state);
  }
  if (out.scale != 1.0f || out.gate.data != nullptr || out.residual.data != nullptr) {
    finish_values<Isa>(acc, factor, state, n);
    write_result<Isa>(out, at, acc, n);
    return;
  }
  write_row<Isa>(out, at.token * out.token_stride + at.head * out.head_stride, acc, state, factor,
                 n);
}

// All splits of one row and branch, acc into scratch.
template <class Isa>
inline State fold_splits(const MergeTaskRows& task, RowPlace row, int32_t branch) {
  State total{-kInfinity, 0.0f};
  for (int32_t i = 0; i < task.num_targets; ++i) {
    const PartialTarget& from = task.partials[i];
    for (int32_t split = 0; split < task.num_splits[i]; ++split) {
      const int64_t at = split * from.split_stride +
                         (row.token * task.heads_q + row.head) * (1 + task.out.more_branches) +
                         branch;
      fold<Isa>(total, task.scratch, {from.ref[at], from.sum[at]}, from.acc + at * task.head_dim_v,
                task.head_dim_v);
    }
  }
  return total;
}

// MergeTaskRows: Dv + 2 floats are read per split and row, and that is all it costs.
template <class Isa>
void merge_rows(const MergeTaskRows& task) {
  const int32_t n = task.head_dim_v;
  for (int32_t token = 0; token < task.tokens; ++token) {
    for (int32_t head = task.head_begin; head < task.head_end; ++head) {
      const RowPlace row{token, head};
      const State first = fold_splits<Isa>(task, row, 0);
      if (task.out.more_branches == 0) {
        finish_row<Isa>(task.out, row, task.scratch, first, n);
        continue;
      }
      float* total = task.scratch + padded(n);
      add_branch<Isa>(task.out, row, 0, {task.scratch, first}, total, n);
      for (int32_t branch = 1; branch <= task.out.more_branches; ++branch) {
        const State state = fold_splits<Isa>(task, row, branch);
        add_branch<Isa>(task.out, row, branch, {task.scratch, state}, total, n);
      }
      write_result<Isa>(task.out, row, total, n);
    }
  }
}

}  // namespace
}  // namespace attnrt::cpu
