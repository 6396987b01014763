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
    ATTNRT_IVDEP for (int i = 0; i < kLineColumns; ++i) to[i] = convert(Element{}, last[-i]);
  } else {
    const auto* first = table + piece.from;
    ATTNRT_IVDEP for (int i = 0; i < kLineColumns; ++i) to[i] = convert(Element{}, first[i]);
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

// Of a strip of rows.
struct PieceTarget {
  int32_t row, lane;
};

// Puts a piece of a row, from a lane on, into the step's register.
template <class Int>
inline void load_piece_of(const ExprRegisters& regs, const ExprPlace& place, const TileStep& step,
                          const BoundSlot& slot, const PieceTarget& to, const PieceOffsets& piece) {
  const int32_t r = to.row;
  const int32_t lane = to.lane;
  if (slot.element == ElementType::kBool) {
    return put_piece(bits_output(regs, step), r, lane, load_bits(piece, slot.data));
  }
  const auto convert = [](auto element, auto x) { return ElementAs<Int>::value(element, x); };
  const ExprOutput<Int> ints = output_of<Int>(regs, place, step);
  const ExprOutput<float> floats = output_of<float>(regs, place, step);
  Int* to_int = ints.at + r * ints.row + lane;
  float* to_float = floats.at + r * floats.row + lane;
  switch (slot.element) {
    case ElementType::kI32:
      return load_piece<I32Element>(piece, slot.data, to_int, convert);
    case ElementType::kI8:
      return load_piece<I8Element>(piece, slot.data, to_int, convert);
    case ElementType::kF32:
      return load_piece<F32Element>(piece, slot.data, to_float, convert);
    default:
      return load_piece<Bf16Element>(piece, slot.data, to_float, convert);
  }
}

template <class Int>
[[gnu::noinline]] void load_anywhere(const ExprRegisters& regs, const ExprPlace& place,
                                     const TileStep& step, const BoundSlot& slot) {
  ExprInput<Int> index[expr::kMaxOperandsOfStep];
  for (int32_t d = 0; d < step.num_operands; ++d) {
    index[d] = input_of<Int>(regs, place, step.operands[d]);
  }
  PieceOffsets piece;
  piece.contiguous = false;
  for (int32_t r = 0; r < place.rows; ++r) {
    for (int32_t lane = place.begin; lane < place.end; lane += kLineColumns) {
      for (int64_t& at : piece.at) at = 0;
      for (int32_t d = 0; d < step.num_operands; ++d) {
        const Int* at = index[d].at + r * index[d].row;
        for (int i = 0; i < kLineColumns; ++i) {
          piece.at[i] += clamped_offset(slot, d, index[d].broadcast ? at[0] : at[lane + i]);
        }
      }
      load_piece_of<Int>(regs, place, step, slot, {r, lane}, piece);
    }
  }
}

// Lanes [begin, end) of a row whose first lane reads table[from], the others its neighbours.
template <class Element, class Out, class Convert>
inline void load_neighbours(const void* data, int64_t from, bool descending, int32_t count, Out* to,
                            Convert convert) {
  const auto* first = static_cast<const typename Element::Stored*>(data) + from;
  if (descending) {
    ATTNRT_IVDEP for (int32_t i = 0; i < count; ++i) to[i] = convert(Element{}, first[-i]);
  } else {
    ATTNRT_IVDEP for (int32_t i = 0; i < count; ++i) to[i] = convert(Element{}, first[i]);
  }
}

// The index of a load along kv.
template <class Int>
class RunIndex {
 public:
  // key: of lane 0.
  RunIndex(const ExprRegisters& regs, const ExprPlace& place, const TileStep& step,
           const BoundSlot& slot, int64_t key)
      : step_(step),
        slot_(slot),
        key_(key),
        extent_(slot.shape.data()[step.run_dimension]),
        stride_(slot.strides.data()[step.run_dimension]) {
    for (int32_t d = 0; d < slot.rank; ++d) {
      if (step.operands[d].reg >= 0) index_[d] = input_of<Int>(regs, place, step.operands[d]);
    }
  }

  void begin_row(int32_t r) {
    base_ = 0;
    for (int32_t d = 0; d < slot_.rank; ++d) {
      const int64_t at = step_.operands[d].reg < 0 ? 0 : index_[d].at[r * index_[d].row];
      if (d == step_.run_dimension) {
        offset_ = at;
      } else {
        base_ += clamped_offset(slot_, d, at);
      }
    }
  }

  // In uint64: an offset of 64 bits may wrap, and then so does the index.
  [[nodiscard]] int64_t at(int32_t lane) const {
    const auto moved = static_cast<uint64_t>(key_ + lane);
    return static_cast<int64_t>(static_cast<uint64_t>(offset_) +
                                (step_.descending ? 0 - moved : moved));
  }
  // Of lanes [begin, end) that stand side by side, none clamped: where the first is; else -1.
  [[nodiscard]] int64_t neighbours(int32_t begin, int32_t end) const {
    const int64_t first = at(begin);
    const int64_t low = step_.descending ? at(end - 1) : first;
    const bool inside = stride_ == 1 && low >= 0 && low <= extent_ - (end - begin);
    return inside ? base_ + first : -1;
  }
  [[nodiscard]] int64_t clamped(int32_t lane) const {
    return base_ + clamped_offset(slot_, step_.run_dimension, at(lane));
  }

 private:
  const TileStep& step_;
  const BoundSlot& slot_;
  const int64_t key_, extent_, stride_;
  ExprInput<Int> index_[expr::kMaxOperandsOfStep];
  int64_t base_ = 0, offset_ = 0;
};

// A row of lanes beside each other, of numbers.
template <class Int>
inline void load_row(const ExprRegisters& regs, const ExprPlace& place, const TileStep& step,
                     const BoundSlot& slot, int32_t r, int64_t from) {
  const auto convert = [](auto element, auto x) { return ElementAs<Int>::value(element, x); };
  const ExprOutput<Int> ints = output_of<Int>(regs, place, step);
  const ExprOutput<float> floats = output_of<float>(regs, place, step);
  Int* to_int = ints.at + r * ints.row + place.begin;
  float* to_float = floats.at + r * floats.row + place.begin;
  const int32_t count = place.end - place.begin;
  switch (slot.element) {
    case ElementType::kI32:
      return load_neighbours<I32Element>(slot.data, from, step.descending, count, to_int, convert);
    case ElementType::kI8:
      return load_neighbours<I8Element>(slot.data, from, step.descending, count, to_int, convert);
    case ElementType::kF32:
      return load_neighbours<F32Element>(slot.data, from, step.descending, count, to_float,
                                         convert);
    default:
      return load_neighbours<Bf16Element>(slot.data, from, step.descending, count, to_float,
                                          convert);
  }
}

template <class Int>
[[gnu::noinline]] void load_run(const ExprRegisters& regs, const ExprPlace& place,
                                const TileStep& step, const BoundSlot& slot, int64_t key) {
  RunIndex<Int> index(regs, place, step, slot, key);
  for (int32_t r = 0; r < place.rows; ++r) {
    index.begin_row(r);
    const int64_t from = index.neighbours(place.begin, place.end);
    if (from >= 0 && slot.element != ElementType::kBool) {
      load_row<Int>(regs, place, step, slot, r, from);
      continue;
    }
    for (int32_t i = place.begin; i < place.end; i += kLineColumns) {
      PieceOffsets piece;
      piece.from = index.neighbours(i, i + kLineColumns);
      piece.contiguous = piece.from >= 0;
      piece.descending = step.descending;
      for (int32_t j = 0; j < kLineColumns && !piece.contiguous; ++j) {
        piece.at[j] = index.clamped(i + j);
      }
      load_piece_of<Int>(regs, place, step, slot, {r, i}, piece);
    }
  }
}

inline float element_of(const BoundSlot& slot, int64_t offset) {
  return slot.element == ElementType::kF32
             ? static_cast<const float*>(slot.data)[offset]
             : widen(Bf16{}, static_cast<const uint16_t*>(slot.data)[offset]);
}

// What lanes of a row read of a table of floats whose elements stand side by side.
template <class Isa, class Dtype, bool kDescending>
struct NeighbourLanes {
  const typename Dtype::Stored* table;
  int64_t lane0;

  [[nodiscard]] typename Isa::Vec at(int32_t lane) const {
    if constexpr (kDescending) {
      return Isa::reverse(Isa::load(Dtype{}, table + (lane0 - lane - (Isa::kLanes - 1))));
    } else {
      return Isa::load(Dtype{}, table + (lane0 + lane));
    }
  }
  // Of the next block, into L2: a table as large as the scores comes from memory, 512 bytes a row,
  // which is too little for prefetchers to find.
  void prefetch(int32_t lane) const {
    const int64_t ahead = lane + kBlockKeys;
    __builtin_prefetch(table + (kDescending ? lane0 - ahead : lane0 + ahead), 0, 2);
  }
};

// Calls visit(lanes) for lanes of which lane `begin` reads element `from`.
template <class Isa, class Visit>
inline void with_neighbours(const BoundSlot& slot, int64_t from, bool descending, int32_t begin,
                            const Visit& visit) {
  const int64_t lane0 = descending ? from + begin : from - begin;
  const auto visit_as = [&](auto dtype) {
    using Dtype = decltype(dtype);
    const auto* table = static_cast<const typename Dtype::Stored*>(slot.data);
    if (descending) return visit(NeighbourLanes<Isa, Dtype, true>{table, lane0});
    visit(NeighbourLanes<Isa, Dtype, false>{table, lane0});
  };
  if (slot.element == ElementType::kF32) return visit_as(F32{});
  visit_as(Bf16{});
}

// out = x + the element that load_run would read.
template <class Isa, class Int>
[[gnu::noinline]] void add_run(const ExprRegisters& regs, const ExprPlace& place,
                               const TileStep& step, const BoundSlot& slot, int64_t key) {
  using Vec = typename Isa::Vec;
  RunIndex<Int> index(regs, place, step, slot, key);
  const ExprInput<float> x = input_of<float>(regs, place, step.operands[slot.rank]);
  const ExprOutput<float> to = output_of<float>(regs, place, step);
  for (int32_t r = 0; r < place.rows; ++r) {
    const float* a = x.at + r * x.row;
    float* out = to.at + r * to.row;
    index.begin_row(r);
    const int64_t from = index.neighbours(place.begin, place.end);
    if (from >= 0) {
      with_neighbours<Isa>(slot, from, step.descending, place.begin, [&](const auto& table) {
        for (int32_t i = place.begin; i < place.end; i += Isa::kLanes) {
          (Vec::load_aligned(a + i) + table.at(i)).store_aligned(out + i);
        }
      });
    } else {
      for (int32_t i = place.begin; i < place.end; ++i) {
        out[i] = a[i] + element_of(slot, index.clamped(i));
      }
    }
  }
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
