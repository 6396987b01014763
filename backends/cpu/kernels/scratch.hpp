// SPDX-License-Identifier: Apache-2.0
// How AttendTask::scratch is laid out: the same for every ISA, so that the executor can size it
// without knowing which table runs. All functions are static: this header is compiled under every
// -m flag, and a function that objects share would be an ODR trap.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/kernel_table.hpp"

namespace attnrt::cpu {

/// Floats of one cache line, the widest vector, and the padding of every row in scratch.
inline constexpr int32_t kLineFloats = 16;

/// Rows whose scores of one block are kept at once: 12 KiB beside a K or V panel in L1.
inline constexpr int32_t kChunkRows = 48;

/// Short tiles walk several KV heads inside a block of keys, as many as give this many rows: whole
/// tokens of an NHD page are then read while their DRAM page is open.
inline constexpr int32_t kHeadRows = 256;

/// Offsets in floats of what one task keeps; each a multiple of kLineFloats.
struct AttendScratch {
  int64_t q;                  // [rows][dim padded]
  int64_t acc;                // [rows][dim_v padded] of the split at hand
  int64_t total;              // [rows][dim_v padded] of the splits before
  int64_t lane_sums;          // [rows][kLineFloats]
  int64_t ref;                // [rows] of the split
  int64_t rescale;            // [rows] factor for acc at this block
  int64_t total_ref;          // [rows]
  int64_t total_sum;          // [rows]
  int64_t visible_begin;      // [rows] int32
  int64_t visible_end;        // [rows] int32
  int64_t key_lines;          // [dim padded][kBlockKeys] of f32, or fewer bytes
  int64_t value_lines;        // [kBlockKeys][dim_v padded], likewise
  int64_t scores;             // [kChunkRows][kBlockKeys]
  int64_t maxima;             // [kChunkRows][kLineFloats] of them, lane by lane
  int64_t zeros;              // one row of either, all zero
  int64_t key_pointers;       // [2][2][kBlockKeys] pointers: this block and the next, K and V
  int64_t mask_words;         // [rows][kBlockKeys] bits: who sees what of the block
  int64_t mask_registers;     // of the mask program, rows as in q
  int64_t score_registers;    // of the score program
  int64_t element_registers;  // of either
  int64_t floats;             // in all
};

static inline constexpr int64_t padded(int64_t floats) noexcept {
  return (floats + kLineFloats - 1) / kLineFloats * kLineFloats;
}

/// Rows that a step of a program passes at a time.
inline constexpr int32_t kStripRows = 8;

/// Floats of the registers of a program, ints counted as 64-bit; elements apart. Null: none.
static inline constexpr int64_t register_floats(const expr::TileCode* code, int64_t rows) noexcept {
  if (code == nullptr) return 0;
  return 2 * (code->registers[0] * int64_t{kLineFloats} + code->registers[1] * padded(rows) +
              code->registers[2] * int64_t{kBlockKeys});
}

static inline constexpr int64_t element_floats(const expr::TileCode* code) noexcept {
  return code == nullptr ? 0 : int64_t{2} * code->registers[3] * kStripRows * kBlockKeys;
}

/// mask and score: the programs of the task, null where there is none.
static inline constexpr AttendScratch attend_scratch(int64_t rows, int32_t head_dim,
                                                     int32_t head_dim_v, const expr::TileCode* mask,
                                                     const expr::TileCode* score) noexcept {
  const int64_t dim = padded(head_dim);
  const int64_t dim_v = padded(head_dim_v);
  const int64_t row_floats = padded(rows) + kLineFloats;  // whole vectors from any row on
  AttendScratch s{};
  s.q = 0;
  s.acc = s.q + rows * dim;
  s.total = s.acc + rows * dim_v;
  s.lane_sums = s.total + rows * dim_v;
  s.ref = s.lane_sums + rows * kLineFloats;
  s.rescale = s.ref + row_floats;
  s.total_ref = s.rescale + row_floats;
  s.total_sum = s.total_ref + row_floats;
  s.visible_begin = s.total_sum + row_floats;
  s.visible_end = s.visible_begin + row_floats;
  s.key_lines = s.visible_end + row_floats;
  s.value_lines = s.key_lines + (dim + kLineFloats) * kBlockKeys;
  s.scores = s.value_lines + dim_v * kBlockKeys;
  s.maxima = s.scores + int64_t{kChunkRows} * kBlockKeys;
  s.zeros = s.maxima + int64_t{kChunkRows} * kLineFloats;
  s.key_pointers = s.zeros + (dim > dim_v ? dim : dim_v);
  s.mask_words = s.key_pointers + padded(int64_t{4} * kBlockKeys *
                                         static_cast<int64_t>(sizeof(void*) / sizeof(float)));
  s.mask_registers = s.mask_words + padded(rows * (kBlockKeys / 32));
  s.score_registers = s.mask_registers + register_floats(mask, rows);
  s.element_registers = s.score_registers + register_floats(score, rows);
  const int64_t of_mask = element_floats(mask);
  const int64_t of_score = element_floats(score);
  s.floats = s.element_registers + (of_mask > of_score ? of_mask : of_score);
  return s;
}

/// KV heads that a task of `rows` rows per head walks together.
static inline constexpr int32_t heads_together(int64_t rows, int32_t heads) noexcept {
  const int64_t fit = rows >= kHeadRows ? 1 : kHeadRows / rows;
  return fit < heads ? static_cast<int32_t>(fit) : heads;
}

/// Bytes of AttendTask::scratch for tasks of at most `max_rows` rows (tokens x group).
static inline constexpr size_t attend_scratch_bytes(int64_t max_rows, int32_t head_dim,
                                                    int32_t head_dim_v, const expr::TileCode* mask,
                                                    const expr::TileCode* score) noexcept {
  const int64_t rows = max_rows > kHeadRows ? max_rows : kHeadRows;
  return static_cast<size_t>(attend_scratch(rows, head_dim, head_dim_v, mask, score).floats) *
         sizeof(float);
}

}  // namespace attnrt::cpu
