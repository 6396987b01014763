// SPDX-License-Identifier: Apache-2.0
// The memory of one work item, and the programs that run in it.
#pragma once

#include "backends/cpu/kernels/generic/expr_inl.hpp"

namespace attnrt::cpu {
namespace {

// AttendTask::scratch as pointers: see scratch.hpp.
template <class Lines>
struct Workspace {
  typename Lines::Operand* q;
  float *acc, *total_acc, *lane_sums, *ref, *rescale, *total_ref, *total_sum;
  int32_t *visible_begin, *visible_end;
  float *key_lines, *value_lines;
  float *key_rest, *value_rest;  // what 16-bit lines leave free of the room for lines of f32
  float *scores, *maxima, *zeros;
  uint64_t* mask_words;
  float *mask_registers, *score_registers, *element_registers;
  const char** key_pointers;
};

template <class Lines>
inline Workspace<Lines> workspace_of(const AttendTask& task, int32_t heads_at_once) {
  const int64_t rows = int64_t{task.tokens} * task.group * heads_at_once;
  const AttendScratch at =
      attend_scratch(rows, task.head_dim, task.head_dim_v, task.mask.code, task.score.code);
  float* base = static_cast<float*>(task.scratch);
  Workspace<Lines> w{};
  w.q = reinterpret_cast<typename Lines::Operand*>(base + at.q);
  w.acc = base + at.acc;
  w.total_acc = base + at.total;
  w.lane_sums = base + at.lane_sums;
  w.ref = base + at.ref;
  w.rescale = base + at.rescale;
  w.total_ref = base + at.total_ref;
  w.total_sum = base + at.total_sum;
  w.visible_begin = reinterpret_cast<int32_t*>(base + at.visible_begin);
  w.visible_end = reinterpret_cast<int32_t*>(base + at.visible_end);
  w.key_lines = base + at.key_lines;
  w.value_lines = base + at.value_lines;
  w.key_rest = w.key_lines + padded(task.head_dim) * kBlockKeys / 2;
  w.value_rest = w.value_lines + padded(task.head_dim_v) * kBlockKeys / 2;
  w.scores = base + at.scores;
  w.maxima = base + at.maxima;
  w.zeros = base + at.zeros;
  w.mask_words = reinterpret_cast<uint64_t*>(base + at.mask_words);
  w.mask_registers = base + at.mask_registers;
  w.score_registers = base + at.score_registers;
  w.element_registers = base + at.element_registers;
  w.key_pointers = reinterpret_cast<const char**>(base + at.key_pointers);
  return w;
}

// A program of the task over `rows` rows of its KV heads walked together.
template <class Lines>
inline ExprState program_state(const AttendTask& task, const expr::ExprCall& call, int64_t rows,
                               float* registers, const Workspace<Lines>& w) {
  ExprState state{};
  state.call = call;
  state.wanted = ~uint64_t{0};
  if (call.code == nullptr) return state;
  state.regs = registers_of(call, rows, registers, w.element_registers);
  state.rows_of_head = task.tokens * task.group;
  state.group = task.group;
  state.branches = 1 + task.more_branches;
  state.q_position = task.q_position;
  state.seq = task.seq;
  state.q_len = task.q_len;
  state.kv_len = task.kv_len;
  return state;
}

}  // namespace
}  // namespace attnrt::cpu
