// SPDX-License-Identifier: Apache-2.0
// Where the values of a program stand, and the loops over rows and lanes that steps are made of.
//
// Lanes pass 16 at a time: rows of a task, or keys of a block. Predicates are bits, 16 lanes in
// two bytes. An operand that does not vary along the lanes is one number per row.
#pragma once

#include "backends/cpu/kernels/generic/lines_inl.hpp"

// Before loops over arrays of a step, which never overlap. Clang has no such word and checks.
#if defined(__clang__)
#define ATTNRT_IVDEP
#else
#define ATTNRT_IVDEP _Pragma("GCC ivdep")
#endif

namespace attnrt::cpu {
namespace {

using expr::TileCode;
using expr::TileOp;
using expr::TileOperand;
using expr::TileRank;
using expr::TileStep;

// Registers of a program in scratch: register i of a rank at base + i * bytes.
struct ExprRegisters {
  char* base[expr::kTileRanks];
  int64_t bytes[expr::kTileRanks];
};

// A program over the rows of a task: query tokens, or tokens and heads as in BlockRun.
struct ExprState {
  expr::ExprCall call;
  ExprRegisters regs;
  uint64_t wanted;  // conjuncts
  // Rows: line i is token i, or of row i; lines of one KV head and branch, and heads of its group.
  bool by_token;
  int32_t lines;
  int32_t rows_of_head, group, branches;
  int32_t first_head;  // KV head of line 0
  int64_t q_position;
  int32_t seq, q_len, kv_len;
  int64_t key;  // of lane 0

  [[nodiscard]] int64_t token(int32_t line) const {
    return by_token ? line : line % rows_of_head / group;
  }
  [[nodiscard]] int64_t kv_head(int32_t line) const {
    return first_head + line / rows_of_head / branches;
  }
  [[nodiscard]] int64_t head(int32_t line) const { return kv_head(line) * group + line % group; }
};

// Where the steps of one stage run.
struct ExprPlace {
  TileRank stage;
  int32_t rows;        // 1 but for elements
  int32_t line;        // elements: the task's row that row 0 is
  int32_t begin, end;  // lanes, whole pieces
  float* scores;       // elements of a score: rows of kBlockKeys
};

template <class T>
struct ExprInput {
  const T* at;
  int64_t row;     // from one row to the next
  bool broadcast;  // at[0] for all lanes
};

template <class T>
struct ExprOutput {
  T* at;
  int64_t row;
};

inline int rank_index(TileRank rank) { return static_cast<int>(rank); }

inline bool is_broadcast(const ExprPlace& place, TileRank rank) {
  const TileRank least = place.stage == TileRank::kElement ? TileRank::kColumn : place.stage;
  return rank_index(rank) < rank_index(least);
}

inline char* register_at(const ExprRegisters& regs, TileRank rank, int32_t reg) {
  return regs.base[rank_index(rank)] + reg * regs.bytes[rank_index(rank)];
}

template <class T>
inline T* numbers_at(const ExprRegisters& regs, const ExprPlace& place, TileRank rank,
                     int32_t reg) {
  if (rank == TileRank::kElement && reg == 0) return reinterpret_cast<T*>(place.scores);
  return reinterpret_cast<T*>(register_at(regs, rank, reg));
}

template <class T>
inline ExprInput<T> input_of(const ExprRegisters& regs, const ExprPlace& place,
                             const TileOperand& operand) {
  const T* at = numbers_at<T>(regs, place, operand.rank, operand.reg);
  const bool broadcast = is_broadcast(place, operand.rank);
  if (operand.rank == TileRank::kElement) return {at, kBlockKeys, false};
  if (broadcast && operand.rank == TileRank::kRow) return {at + place.line, 1, true};
  return {at, 0, broadcast};
}

template <class T>
inline ExprOutput<T> output_of(const ExprRegisters& regs, const ExprPlace& place,
                               const TileStep& step) {
  return {numbers_at<T>(regs, place, step.rank, step.out), kBlockKeys};
}

// Bits of lanes: 64 to a word, two words a row.
constexpr int32_t kWordLanes = 64;
constexpr int32_t kRowWords = kBlockKeys / kWordLanes;

struct BitsInput {
  const uint64_t* at;
  int64_t row;  // words
  int32_t bit;  // broadcast: of row 0
  int32_t bit_row;
  bool broadcast;
  uint64_t flip;

  [[nodiscard]] uint64_t word(int32_t r, int32_t w) const {
    if (!broadcast) return at[r * row + w] ^ flip;
    const int32_t i = bit + r * bit_row;
    const bool value = (at[i / kWordLanes] >> (i % kWordLanes) & 1) != 0;
    return (value ? ~uint64_t{0} : uint64_t{0}) ^ flip;
  }
  // The 16 lanes from `lane` on.
  [[nodiscard]] uint32_t piece(int32_t r, int32_t lane) const {
    return static_cast<uint32_t>(word(r, lane / kWordLanes) >> (lane % kWordLanes)) & 0xffffu;
  }
};

inline BitsInput bits_of_operand(const ExprRegisters& regs, const ExprPlace& place,
                                 const TileOperand& operand) {
  BitsInput in{};
  in.at = reinterpret_cast<const uint64_t*>(register_at(regs, operand.rank, operand.reg));
  in.row = operand.rank == TileRank::kElement ? kRowWords : 0;
  in.broadcast = is_broadcast(place, operand.rank);
  if (operand.rank == TileRank::kRow) {
    in.bit = place.line;
    in.bit_row = 1;
  }
  in.flip = operand.negated ? ~uint64_t{0} : uint64_t{0};
  return in;
}

inline uint64_t* bits_output(const ExprRegisters& regs, const TileStep& step) {
  return reinterpret_cast<uint64_t*>(register_at(regs, step.rank, step.out));
}

inline void put_piece(uint64_t* words, int32_t r, int32_t lane, uint32_t bits) {
  const auto sixteen = static_cast<uint16_t>(bits);
  __builtin_memcpy(reinterpret_cast<char*>(words + r * kRowWords) + lane / 8, &sixteen,
                   sizeof sixteen);
}

// out = f(x) for all rows and lanes, a vector at a time.
template <class Isa, class From, class To, class F>
inline void map_vectors(const ExprPlace& place, ExprInput<From> x, ExprOutput<To> out, F f) {
  using Vec = xsimd::batch<From, typename Isa::Arch>;
  for (int32_t r = 0; r < place.rows; ++r) {
    const From* a = x.at + r * x.row;
    To* to = out.at + r * out.row;
    for (int32_t i = place.begin; i < place.end; i += static_cast<int32_t>(Vec::size)) {
      f(Vec::load_aligned(a + i)).store_aligned(to + i);
    }
  }
}

// out = f(x, y), of which at most one is a broadcast.
template <class Isa, class T, class F>
inline void map_vectors(const ExprPlace& place, ExprInput<T> x, ExprInput<T> y, ExprOutput<T> out,
                        F f) {
  using Vec = xsimd::batch<T, typename Isa::Arch>;
  constexpr auto kStep = static_cast<int32_t>(Vec::size);
  for (int32_t r = 0; r < place.rows; ++r) {
    const T* a = x.at + r * x.row;
    const T* b = y.at + r * y.row;
    T* to = out.at + r * out.row;
    if (y.broadcast) {
      const Vec one(b[0]);
      for (int32_t i = place.begin; i < place.end; i += kStep) {
        f(Vec::load_aligned(a + i), one).store_aligned(to + i);
      }
    } else if (x.broadcast) {
      const Vec one(a[0]);
      for (int32_t i = place.begin; i < place.end; i += kStep) {
        f(one, Vec::load_aligned(b + i)).store_aligned(to + i);
      }
    } else {
      for (int32_t i = place.begin; i < place.end; i += kStep) {
        f(Vec::load_aligned(a + i), Vec::load_aligned(b + i)).store_aligned(to + i);
      }
    }
  }
}

// out = f(x, y), lane by lane: what vectors lack, and the compiler finds itself in loops of 16.
template <class T, class To, class F>
inline void map_lanes(const ExprPlace& place, ExprInput<T> x, ExprInput<T> y, ExprOutput<To> out,
                      F f) {
  for (int32_t r = 0; r < place.rows; ++r) {
    const T* a = x.at + r * x.row;
    const T* b = y.at + r * y.row;
    To* to = out.at + r * out.row;
    const T left = a[0];
    const T right = b[0];
    for (int32_t i = place.begin; i < place.end; i += kLineColumns) {
      if (y.broadcast) {
        ATTNRT_IVDEP for (int32_t j = 0; j < kLineColumns; ++j) to[i + j] = f(a[i + j], right);
      } else if (x.broadcast) {
        ATTNRT_IVDEP for (int32_t j = 0; j < kLineColumns; ++j) to[i + j] = f(left, b[i + j]);
      } else {
        ATTNRT_IVDEP for (int32_t j = 0; j < kLineColumns; ++j) to[i + j] = f(a[i + j], b[i + j]);
      }
    }
  }
}

template <class From, class To, class F>
inline void map_lanes(const ExprPlace& place, ExprInput<From> x, ExprOutput<To> out, F f) {
  for (int32_t r = 0; r < place.rows; ++r) {
    const From* a = x.at + r * x.row;
    To* to = out.at + r * out.row;
    for (int32_t i = place.begin; i < place.end; i += kLineColumns) {
      ATTNRT_IVDEP for (int32_t j = 0; j < kLineColumns; ++j) to[i + j] = f(a[i + j]);
    }
  }
}

// Bits of f(x, y), a comparison of vectors.
template <class Isa, class T, class F>
inline void compare_lanes(const ExprPlace& place, ExprInput<T> x, ExprInput<T> y, uint64_t* out,
                          F f) {
  using Vec = xsimd::batch<T, typename Isa::Arch>;
  constexpr auto kStep = static_cast<int32_t>(Vec::size);
  const auto row = [&](int32_t r, const auto& left, const auto& right) {
    for (int32_t i = place.begin; i < place.end; i += kLineColumns) {
      uint32_t bits = 0;
      for (int32_t part = 0; part < kLineColumns; part += kStep) {
        bits |= Isa::lane_bits(f(left(i + part), right(i + part))) << part;
      }
      put_piece(out, r, i, bits);
    }
  };
  for (int32_t r = 0; r < place.rows; ++r) {
    const T* a = x.at + r * x.row;
    const T* b = y.at + r * y.row;
    const Vec one_a(a[0]);
    const Vec one_b(b[0]);
    const auto left = [&](int32_t i) { return Vec::load_aligned(a + i); };
    const auto right = [&](int32_t i) { return Vec::load_aligned(b + i); };
    if (y.broadcast) {
      row(r, left, [&](int32_t) { return one_b; });
    } else if (x.broadcast) {
      row(
          r, [&](int32_t) { return one_a; }, right);
    } else {
      row(r, left, right);
    }
  }
}

// out = condition ? x : y, each of them one number per row or one per lane.
template <class Isa, class T>
inline void select_lanes(const ExprPlace& place, const BitsInput& condition, ExprInput<T> x,
                         ExprInput<T> y, ExprOutput<T> out) {
  using Vec = xsimd::batch<T, typename Isa::Arch>;
  constexpr auto kStep = static_cast<int32_t>(Vec::size);
  for (int32_t r = 0; r < place.rows; ++r) {
    const T* a = x.at + r * x.row;
    const T* b = y.at + r * y.row;
    const Vec one_a(a[0]);
    const Vec one_b(b[0]);
    T* to = out.at + r * out.row;
    for (int32_t i = place.begin; i < place.end; i += kLineColumns) {
      const uint32_t bits = condition.piece(r, i);
      for (int32_t part = 0; part < kLineColumns; part += kStep) {
        const Vec left = x.broadcast ? one_a : Vec::load_aligned(a + i + part);
        const Vec right = y.broadcast ? one_b : Vec::load_aligned(b + i + part);
        Isa::choose(bits >> part, left, right).store_aligned(to + i + part);
      }
    }
  }
}

// Words of f(x, y, z) on bits; operands beyond the step's are the first.
template <class F>
inline void map_words(const ExprRegisters& regs, const ExprPlace& place, const TileStep& step,
                      F f) {
  BitsInput in[3];
  for (int32_t i = 0; i < 3; ++i) {
    in[i] = bits_of_operand(regs, place, step.operands[i < step.num_operands ? i : 0]);
  }
  uint64_t* out = bits_output(regs, step);
  const int32_t last = (place.end + kWordLanes - 1) / kWordLanes;
  for (int32_t r = 0; r < place.rows; ++r) {
    for (int32_t w = place.begin / kWordLanes; w < last; ++w) {
      out[r * kRowWords + w] = f(in[0].word(r, w), in[1].word(r, w), in[2].word(r, w));
    }
  }
}

}  // namespace
}  // namespace attnrt::cpu
