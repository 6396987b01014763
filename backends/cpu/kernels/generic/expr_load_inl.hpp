// SPDX-License-Identifier: Apache-2.0
// Captured tables: 16 elements side by side where the index runs along with kv and needs no
// clamping, one by one elsewhere.
#pragma once

#include "backends/cpu/kernels/generic/expr_lanes_inl.hpp"

namespace attnrt::cpu {
namespace {

using expr::BoundSlot;
using expr::ElementType;

// Elements of tables as types: what is stored, and what programs see.
struct I32Element {
  using Stored = int32_t;
};
struct I8Element {
  using Stored = int8_t;
};
struct BoolElement {
  using Stored = uint8_t;
};
struct F32Element {
  using Stored = float;
};
struct Bf16Element {
  using Stored = uint16_t;
};

template <class Int>
struct ElementAs {
  static Int value(I32Element, int32_t x) { return x; }
  static Int value(I8Element, int8_t x) { return x; }
  static float value(F32Element, float x) { return x; }
  static float value(Bf16Element, uint16_t x) { return widen(Bf16{}, x); }
};

inline int64_t clamped_offset(const BoundSlot& slot, int32_t dimension, int64_t index) {
  const int64_t last = slot.shape.data()[dimension] - 1;
  index = index < 0 ? 0 : index > last ? last : index;
  return index * slot.strides.data()[dimension];
}

// Which 16 elements a piece reads: `from` ascending or descending, or the offsets.
struct PieceOffsets {
  bool contiguous;
  bool descending;
  int64_t from;
  int64_t at[kLineColumns];
};

template <class Element, class Out, class Convert>
inline void load_piece(const PieceOffsets& piece, const void* data, Out* to, Convert convert) {
  const auto* table = static_cast<const typename Element::Stored*>(data);
  if (!piece.contiguous) {
    for (int i = 0; i < kLineColumns; ++i) to[i] = convert(Element{}, table[piece.at[i]]);
  } else if (piece.descending) {
    const auto* last = table + piece.from;
#pragma GCC ivdep
    for (int i = 0; i < kLineColumns; ++i) to[i] = convert(Element{}, last[-i]);
  } else {
    const auto* first = table + piece.from;
#pragma GCC ivdep
    for (int i = 0; i < kLineColumns; ++i) to[i] = convert(Element{}, first[i]);
  }
}

// Bit i where byte i is not 0.
inline uint32_t nonzero_bytes(const uint8_t* bytes) {
  uint32_t bits = 0;
  for (int half = 0; half < 2; ++half) {
    uint64_t x;
    __builtin_memcpy(&x, bytes + 8 * half, sizeof x);
    constexpr uint64_t kLow = 0x7f7f7f7f7f7f7f7fu;
    const uint64_t high = (x | ((x & kLow) + kLow)) & ~kLow;
    bits |= static_cast<uint32_t>((high >> 7) * 0x0102040810204080u >> 56) << (8 * half);
  }
  return bits;
}

inline uint32_t load_bits(const PieceOffsets& piece, const void* data) {
  const auto* table = static_cast<const uint8_t*>(data);
  if (piece.contiguous && !piece.descending) return nonzero_bytes(table + piece.from);
  uint8_t bytes[kLineColumns];
  for (int i = 0; i < kLineColumns; ++i) {
    bytes[i] = table[piece.contiguous ? piece.from - i : piece.at[i]];
  }
  return nonzero_bytes(bytes);
}

// Calls find(row, first lane, offsets) for every piece, and puts what it found into the register.
template <class Int, class Find>
inline void load_lanes(const ExprRegisters& regs, const ExprPlace& place, const TileStep& step,
                       const BoundSlot& slot, Find find) {
  PieceOffsets piece;
  for (int32_t r = 0; r < place.rows; ++r) {
    for (int32_t i = place.begin; i < place.end; i += kLineColumns) {
      find(r, i, piece);
      if (slot.element == ElementType::kBool) {
        put_piece(bits_output(regs, step), r, i, load_bits(piece, slot.data));
        continue;
      }
      const auto convert = [](auto element, auto x) { return ElementAs<Int>::value(element, x); };
      const ExprOutput<Int> ints = output_of<Int>(regs, place, step);
      const ExprOutput<float> floats = output_of<float>(regs, place, step);
      Int* to_int = ints.at + r * ints.row + i;
      float* to_float = floats.at + r * floats.row + i;
      switch (slot.element) {
        case ElementType::kI32:
          load_piece<I32Element>(piece, slot.data, to_int, convert);
          break;
        case ElementType::kI8:
          load_piece<I8Element>(piece, slot.data, to_int, convert);
          break;
        case ElementType::kF32:
          load_piece<F32Element>(piece, slot.data, to_float, convert);
          break;
        default:
          load_piece<Bf16Element>(piece, slot.data, to_float, convert);
          break;
      }
    }
  }
}

template <class Int>
[[gnu::noinline]] void load_anywhere(const ExprRegisters& regs, const ExprPlace& place,
                                     const TileStep& step, const BoundSlot& slot) {
  ExprInput<Int> index[expr::kMaxOperandsOfStep];
  for (int32_t d = 0; d < step.num_operands; ++d) {
    index[d] = input_of<Int>(regs, place, step.operands[d]);
  }
  load_lanes<Int>(regs, place, step, slot, [&](int32_t r, int32_t lane, PieceOffsets& piece) {
    piece.contiguous = false;
    for (int i = 0; i < kLineColumns; ++i) piece.at[i] = 0;
    for (int32_t d = 0; d < step.num_operands; ++d) {
      const Int* at = index[d].at + r * index[d].row;
      for (int i = 0; i < kLineColumns; ++i) {
        piece.at[i] += clamped_offset(slot, d, index[d].broadcast ? at[0] : at[lane + i]);
      }
    }
  });
}

// key: of lane 0.
template <class Int>
[[gnu::noinline]] void load_run(const ExprRegisters& regs, const ExprPlace& place,
                                const TileStep& step, const BoundSlot& slot, int64_t key) {
  const int32_t run = step.run_dimension;
  ExprInput<Int> index[expr::kMaxOperandsOfStep];
  for (int32_t d = 0; d < step.num_operands; ++d) {
    if (step.operands[d].reg >= 0) index[d] = input_of<Int>(regs, place, step.operands[d]);
  }
  const int64_t extent = slot.shape.data()[run];
  const int64_t stride = slot.strides.data()[run];
  load_lanes<Int>(regs, place, step, slot, [&](int32_t r, int32_t lane, PieceOffsets& piece) {
    int64_t base = 0;
    for (int32_t d = 0; d < step.num_operands; ++d) {
      if (d != run) base += clamped_offset(slot, d, index[d].at[r * index[d].row]);
    }
    // In uint64: a base of 64 bits may wrap, and then so does the index.
    const int64_t offset = step.operands[run].reg < 0 ? 0 : index[run].at[r * index[run].row];
    const int64_t sign = step.descending ? -1 : 1;
    const auto first = static_cast<int64_t>(static_cast<uint64_t>(offset) +
                                            static_cast<uint64_t>(sign * (key + lane)));
    const int64_t low = step.descending ? first - (kLineColumns - 1) : first;
    piece.descending = step.descending;
    piece.contiguous = stride == 1 && low >= 0 && low <= extent - kLineColumns;
    piece.from = base + first;
    if (piece.contiguous) return;
    for (int i = 0; i < kLineColumns; ++i) {
      const auto at =
          static_cast<int64_t>(static_cast<uint64_t>(first) + static_cast<uint64_t>(sign * i));
      piece.at[i] = base + clamped_offset(slot, run, at);
    }
  });
}

inline float element_of(const BoundSlot& slot, int64_t offset) {
  return slot.element == ElementType::kF32
             ? static_cast<const float*>(slot.data)[offset]
             : widen(Bf16{}, static_cast<const uint16_t*>(slot.data)[offset]);
}

// The row of one side of a dot: (.., head, position, d), leading dimensions as far as there are
// some.
inline int64_t side_row(const BoundSlot& side, int64_t seq, int64_t head, int64_t position) {
  const int64_t index[] = {seq, head, position};
  const int32_t leading = side.rank - 1;
  int64_t offset = 0;
  for (int32_t i = 0; i < leading; ++i) offset += clamped_offset(side, i, index[3 - leading + i]);
  return offset;
}

// Products are added up in ascending order; where sides differ in length the shorter one counts.
[[gnu::noinline]] inline void dot_rows(const ExprState& state, const ExprPlace& place,
                                       const BoundSlot& q_side, const BoundSlot& kv_side,
                                       ExprOutput<float> to) {
  const int32_t q_last = q_side.rank - 1;
  const int32_t kv_last = kv_side.rank - 1;
  const int64_t q_length = q_side.shape.data()[q_last];
  const int64_t kv_length = kv_side.shape.data()[kv_last];
  const int64_t length = q_length < kv_length ? q_length : kv_length;
  for (int32_t r = 0; r < place.rows; ++r) {
    const int32_t line = place.line + r;
    const int64_t q_row =
        side_row(q_side, state.seq, state.head(line), state.q_position + state.token(line));
    for (int32_t i = place.begin; i < place.end; ++i) {
      const int64_t kv_row = side_row(kv_side, state.seq, state.kv_head(line), state.key + i);
      float sum = 0.0f;
      for (int64_t d = 0; d < length; ++d) {
        sum += element_of(q_side, q_row + d * q_side.strides.data()[q_last]) *
               element_of(kv_side, kv_row + d * kv_side.strides.data()[kv_last]);
      }
      to.at[r * to.row + i] = sum;
    }
  }
}

}  // namespace
}  // namespace attnrt::cpu
