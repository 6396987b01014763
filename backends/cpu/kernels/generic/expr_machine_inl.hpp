// SPDX-License-Identifier: Apache-2.0
// The operations of programs.
//
// A step costs one dispatch for up to kStripRows rows of 128 lanes, and then about 10 cycles a row
// and operation on AVX-512; what does not change with the row, or with the key, is worked out once
// for all keys, or all rows.
#pragma once

#include <type_traits>

#include "backends/cpu/kernels/generic/expr_floats_inl.hpp"
#include "backends/cpu/kernels/generic/expr_load_inl.hpp"

namespace attnrt::cpu {
namespace {

template <class Isa, class Int>
class ExprMachine {
  using Vec = typename Isa::Vec;
  using Functions = FloatFunctions<Isa>;
  using Unsigned = std::make_unsigned_t<Int>;

 public:
  ExprMachine(const ExprState& state, const ExprPlace& place, uint64_t* words)
      : state_(state), place_(place), words_(words) {}

  void run() {
    const auto stage = static_cast<int32_t>(place_.stage);
    const TileCode& code = *state_.call.code;
    const TileStep* step = code.steps + (stage == 0 ? 0 : code.stage_end[stage - 1]);
    const TileStep* end = code.steps + code.stage_end[stage];
    for (; step != end; ++step) {
      if ((step->conjuncts & state_.wanted) != 0) execute(*step);
    }
  }

 private:
  template <class T>
  [[nodiscard]] ExprInput<T> in(const TileStep& step, int i) const {
    return input_of<T>(state_.regs, place_, step.operands[i]);
  }
  template <class T>
  [[nodiscard]] ExprOutput<T> out(const TileStep& step) const {
    return output_of<T>(state_.regs, place_, step);
  }

  template <class T, class F>
  void fill(const TileStep& step, F value) const {
    T* to = out<T>(step).at;
    for (int32_t i = place_.begin; i < place_.end; ++i) to[i] = static_cast<T>(value(i));
  }
  template <class F>
  void ints(const TileStep& step, F f) const {
    map_vectors<Isa>(place_, in<Int>(step, 0), in<Int>(step, 1), out<Int>(step), f);
  }
  template <class F>
  void int_lanes(const TileStep& step, F f) const {
    map_lanes(place_, in<Int>(step, 0), in<Int>(step, 1), out<Int>(step), f);
  }
  template <class F>
  void floats(const TileStep& step, F f) const {
    map_vectors<Isa>(place_, in<float>(step, 0), in<float>(step, 1), out<float>(step), f);
  }
  template <class F>
  void function(const TileStep& step, F f) const {
    map_vectors<Isa>(place_, in<float>(step, 0), out<float>(step), f);
  }
  template <class F>
  void function_lanes(const TileStep& step, F f) const {
    map_lanes(place_, in<float>(step, 0), out<float>(step), f);
  }
  template <class T, class F>
  void compare(const TileStep& step, F f) const {
    compare_lanes<Isa>(place_, in<T>(step, 0), in<T>(step, 1), bits_output(state_.regs, step), f);
  }

  [[gnu::noinline]] void execute(const TileStep& step) const {
    if (step.op < TileOp::kAdd) return leaf(step);
    if (step.op < TileOp::kLess) return of_ints(step);
    if (step.op < TileOp::kToFloat) return predicate(step);
    if (step.op < TileOp::kExp) return of_floats(step);
    if (step.op < TileOp::kConjunct) return function_of(step);
    end(step);
  }

  [[gnu::noinline]] void leaf(const TileStep& step) const {
    switch (step.op) {
      case TileOp::kQ:
        return fill<Int>(step, [&](int32_t i) { return state_.q_position + state_.token(i); });
      case TileOp::kKv:
        return fill<Int>(step, [&](int32_t i) { return state_.key + i; });
      case TileOp::kH:
        return fill<Int>(step, [&](int32_t i) { return state_.head(i); });
      case TileOp::kHkv:
        return fill<Int>(step, [&](int32_t i) { return state_.kv_head(i); });
      case TileOp::kB:
        return fill<Int>(step, [&](int32_t) { return state_.seq; });
      case TileOp::kQLen:
        return fill<Int>(step, [&](int32_t) { return state_.q_len; });
      case TileOp::kKvLen:
        return fill<Int>(step, [&](int32_t) { return state_.kv_len; });
      case TileOp::kLiteralInt:
        return fill<Int>(step, [&](int32_t) { return step.int_literal; });
      case TileOp::kLiteralFloat:
        return fill<float>(step, [&](int32_t) { return step.float_literal; });
      case TileOp::kLiteralPredicate:
        bits_output(state_.regs, step)[0] = step.int_literal != 0 ? ~uint64_t{0} : uint64_t{0};
        return;
      case TileOp::kParamInt:
        return fill<Int>(step, [&](int32_t) { return slot(step.slot).int_value; });
      case TileOp::kParamFloat:
        return fill<float>(step, [&](int32_t) { return slot(step.slot).float_value; });
      case TileOp::kLoad:
        return load_anywhere<Int>(state_.regs, place_, step, slot(step.slot));
      case TileOp::kLoadRun:
        return load_run<Int>(state_.regs, place_, step, slot(step.slot), state_.key);
      default:
        return dot_rows(state_, place_, slot(step.slot), slot(step.kv_slot), out<float>(step));
    }
  }

  [[nodiscard]] const expr::BoundSlot& slot(int32_t i) const { return state_.call.slots[i]; }

  // Ints wrap: what they stand for here does not, or is of lanes that nobody reads.
  [[gnu::noinline]] void of_ints(const TileStep& step) const {
    constexpr int kBits = 8 * static_cast<int>(sizeof(Int));
    switch (step.op) {
      case TileOp::kAdd:
        return ints(step, [](auto x, auto y) { return x + y; });
      case TileOp::kSub:
        return ints(step, [](auto x, auto y) { return x - y; });
      case TileOp::kMul:
        return int_lanes(step, [](Int x, Int y) {
          return static_cast<Int>(static_cast<Unsigned>(x) * static_cast<Unsigned>(y));
        });
      case TileOp::kNeg:
        return map_lanes(place_, in<Int>(step, 0), out<Int>(step),
                         [](Int x) { return static_cast<Int>(0 - static_cast<Unsigned>(x)); });
      case TileOp::kAbs:
        return map_lanes(place_, in<Int>(step, 0), out<Int>(step), [](Int x) {
          return x < 0 ? static_cast<Int>(0 - static_cast<Unsigned>(x)) : x;
        });
      case TileOp::kMin:
        return int_lanes(step, [](Int x, Int y) { return x < y ? x : y; });
      case TileOp::kMax:
        return int_lanes(step, [](Int x, Int y) { return x > y ? x : y; });
      case TileOp::kFloorDiv:
        return int_lanes(step, [](Int x, Int y) { return quotient(x, y); });
      case TileOp::kFloorMod:
        return int_lanes(step, [](Int x, Int y) {
          const auto whole = static_cast<Unsigned>(quotient(x, y)) * static_cast<Unsigned>(y);
          return y == 0 ? Int{0} : static_cast<Int>(static_cast<Unsigned>(x) - whole);
        });
      case TileOp::kBitAnd:
        return ints(step, [](auto x, auto y) { return x & y; });
      case TileOp::kBitOr:
        return ints(step, [](auto x, auto y) { return x | y; });
      case TileOp::kBitXor:
        return ints(step, [](auto x, auto y) { return x ^ y; });
      case TileOp::kShiftLeft:
        return int_lanes(step, [](Int x, Int count) {
          const bool outside = count < 0 || count >= kBits;
          return outside ? Int{0}
                         : static_cast<Int>(static_cast<Unsigned>(x) << (count & (kBits - 1)));
        });
      default:
        return int_lanes(step, [](Int x, Int count) {
          const bool outside = count < 0 || count >= kBits;
          return x >> (outside ? kBits - 1 : count);
        });
    }
  }

  // Towards minus infinity; 0 where y is. Doubles hold quotients of 32-bit ints to 2^-53, which
  // keeps those that are no whole numbers apart from these.
  static int32_t quotient(int32_t x, int32_t y) {
    const double q = static_cast<double>(x) / static_cast<double>(y == 0 ? 1 : y);
    const auto whole = static_cast<int32_t>(q);
    const int32_t floor = static_cast<double>(whole) > q ? whole - 1 : whole;
    return y == 0 ? 0 : floor;
  }
  static int64_t quotient(int64_t x, int64_t y) {
    if (y == 0) return 0;
    if (y == -1) return static_cast<int64_t>(0 - static_cast<uint64_t>(x));
    const int64_t whole = x / y;
    return x % y != 0 && (x < 0) != (y < 0) ? whole - 1 : whole;
  }

  [[gnu::noinline]] void predicate(const TileStep& step) const {
    switch (step.op) {
      case TileOp::kLess:
        return compare<Int>(step, [](auto x, auto y) { return x < y; });
      case TileOp::kLessEqual:
        return compare<Int>(step, [](auto x, auto y) { return x <= y; });
      case TileOp::kEqual:
        return compare<Int>(step, [](auto x, auto y) { return x == y; });
      case TileOp::kLessFloat:
        return compare<float>(step, [](auto x, auto y) { return x < y; });
      case TileOp::kLessEqualFloat:
        return compare<float>(step, [](auto x, auto y) { return x <= y; });
      case TileOp::kEqualFloat:
        return compare<float>(step, [](auto x, auto y) { return x == y; });
      case TileOp::kAnd:
        return words(step, [](uint64_t x, uint64_t y, uint64_t) { return x & y; });
      case TileOp::kXor:
        return words(step, [](uint64_t x, uint64_t y, uint64_t) { return x ^ y; });
      case TileOp::kSelect:
        return select_lanes<Isa>(place_, bits(step), in<Int>(step, 1), in<Int>(step, 2),
                                 out<Int>(step));
      case TileOp::kSelectFloat:
        return select_lanes<Isa>(place_, bits(step), in<float>(step, 1), in<float>(step, 2),
                                 out<float>(step));
      default:
        return words(step, [](uint64_t c, uint64_t x, uint64_t y) { return (c & x) | (~c & y); });
    }
  }
  template <class F>
  void words(const TileStep& step, F f) const {
    map_words(state_.regs, place_, step, f);
  }
  [[nodiscard]] BitsInput bits(const TileStep& step) const {
    return bits_of_operand(state_.regs, place_, step.operands[0]);
  }

  [[gnu::noinline]] void of_floats(const TileStep& step) const {
    switch (step.op) {
      case TileOp::kToFloat:
        return map_lanes(place_, in<Int>(step, 0), out<float>(step),
                         [](Int x) { return static_cast<float>(x); });
      case TileOp::kAddFloat:
        return floats(step, [](auto x, auto y) { return x + y; });
      case TileOp::kSubFloat:
        return floats(step, [](auto x, auto y) { return x - y; });
      case TileOp::kMulFloat:
        return floats(step, [](auto x, auto y) { return x * y; });
      case TileOp::kDivFloat:
        return floats(step, [](auto x, auto y) { return x / y; });
      case TileOp::kNegFloat:
        return function(step, [](auto x) { return x * Vec(-1.0f); });
      case TileOp::kAbsFloat:
        return function(step, [](auto x) { return xsimd::abs(x); });
      case TileOp::kMinFloat:
        return floats(step, [](auto x, auto y) { return xsimd::select(x < y, x, y); });
      case TileOp::kMaxFloat:
        return floats(step, [](auto x, auto y) { return xsimd::select(x > y, x, y); });
      case TileOp::kDifferenceToFloat:
        return map_lanes(place_, in<Int>(step, 0), in<Int>(step, 1), out<float>(step),
                         [](Int x, Int y) { return difference(x, y); });
      case TileOp::kScaledDifference:
        return scaled_difference(step);
      case TileOp::kAddProduct:
        return products(step, [](auto x, auto product) { return x + product; });
      case TileOp::kSubProduct:
        return products(step, [](auto x, auto product) { return x - product; });
      case TileOp::kAddRun:
        return add_run<Isa, Int>(state_.regs, place_, step, slot(step.slot), state_.key);
      default:
        return fused(step);
    }
  }

  static float difference(Int x, Int y) {
    const auto low = static_cast<Unsigned>(x) - static_cast<Unsigned>(y);
    return static_cast<float>(static_cast<Int>(low));
  }

  void scaled_difference(const TileStep& step) const {
    const ExprInput<Int> x = in<Int>(step, 0);
    const ExprInput<Int> y = in<Int>(step, 1);
    const ExprInput<float> z = in<float>(step, 2);
    const ExprOutput<float> to = out<float>(step);
    ExprPlace row = place_;
    row.rows = 1;
    for (int32_t r = 0; r < place_.rows; ++r) {
      const float factor = z.at[r * z.row];
      map_lanes(row, ExprInput<Int>{x.at + r * x.row, 0, x.broadcast},
                ExprInput<Int>{y.at + r * y.row, 0, y.broadcast},
                ExprOutput<float>{to.at + r * to.row, 0},
                [=](Int a, Int b) { return difference(a, b) * factor; });
    }
  }

  // f(x, y * z), where x and y vary along the lanes.
  template <class F>
  void products(const TileStep& step, F f) const {
    const ExprInput<float> x = in<float>(step, 0);
    const ExprInput<float> y = in<float>(step, 1);
    const ExprInput<float> z = in<float>(step, 2);
    const ExprOutput<float> to = out<float>(step);
    for (int32_t r = 0; r < place_.rows; ++r) {
      const float* a = x.at + r * x.row;
      const float* b = y.at + r * y.row;
      const float* c = z.at + r * z.row;
      float* out_row = to.at + r * to.row;
      if (z.broadcast) {
        const Vec factor(c[0]);
        for (int32_t i = place_.begin; i < place_.end; i += Isa::kLanes) {
          const Vec product = Vec::load_aligned(b + i) * factor;
          f(Vec::load_aligned(a + i), product).store_aligned(out_row + i);
        }
      } else {
        for (int32_t i = place_.begin; i < place_.end; i += Isa::kLanes) {
          const Vec product = Vec::load_aligned(b + i) * Vec::load_aligned(c + i);
          f(Vec::load_aligned(a + i), product).store_aligned(out_row + i);
        }
      }
    }
  }

  // x * y + z, rounded once.
  void fused(const TileStep& step) const {
    const ExprInput<float> x = in<float>(step, 0);
    const ExprInput<float> y = in<float>(step, 1);
    const ExprInput<float> z = in<float>(step, 2);
    const ExprOutput<float> to = out<float>(step);
    for (int32_t r = 0; r < place_.rows; ++r) {
      const float* a = x.at + r * x.row;
      const float* b = y.at + r * y.row;
      const float* c = z.at + r * z.row;
      for (int32_t i = place_.begin; i < place_.end; ++i) {
        to.at[r * to.row + i] =
            __builtin_fmaf(a[x.broadcast ? 0 : i], b[y.broadcast ? 0 : i], c[z.broadcast ? 0 : i]);
      }
    }
  }

  [[gnu::noinline]] void function_of(const TileStep& step) const {
    switch (step.op) {
      case TileOp::kExp:
        return function(step, [](auto x) { return Functions::exp(x); });
      case TileOp::kExp2:
        return function(step, [](auto x) { return Functions::exp2(x); });
      case TileOp::kTanh:
        return function(step, [](auto x) { return tanh<Isa>(x); });
      case TileOp::kSigmoid:
        return function(step, [](auto x) { return Functions::sigmoid(x); });
      case TileOp::kSqrt:
        return function(step, [](auto x) { return xsimd::sqrt(x); });
      case TileOp::kRsqrt:
        return function(step, [](auto x) { return Vec(1.0f) / xsimd::sqrt(x); });
      case TileOp::kLog:
        return function_lanes(step, [](float x) { return __builtin_logf(x); });
      case TileOp::kLog1p:
        return function_lanes(step, [](float x) { return __builtin_log1pf(x); });
      case TileOp::kErf:
        return function_lanes(step, [](float x) { return __builtin_erff(x); });
      case TileOp::kSin:
        return function_lanes(step, [](float x) { return __builtin_sinf(x); });
      case TileOp::kCos:
        return function_lanes(step, [](float x) { return __builtin_cosf(x); });
      default:
        return map_lanes(place_, in<float>(step, 0), in<float>(step, 1), out<float>(step),
                         [](float x, float y) { return __builtin_powf(x, y); });
    }
  }

  void end(const TileStep& step) const {
    if (step.op == TileOp::kConjunct) {
      const BitsInput in = bits(step);
      const int32_t last = (place_.end + kWordLanes - 1) / kWordLanes;
      for (int32_t r = 0; r < place_.rows; ++r) {
        for (int32_t w = place_.begin / kWordLanes; w < last; ++w) {
          words_[r * kRowWords + w] &= in.word(r, w);
        }
      }
      return;
    }
    const ExprInput<float> from = in<float>(step, 0);
    for (int32_t r = 0; r < place_.rows; ++r) {
      const float* a = from.at + r * from.row;
      float* to = place_.scores + r * kBlockKeys;
      for (int32_t i = place_.begin; i < place_.end; ++i) to[i] = a[from.broadcast ? 0 : i];
    }
  }

  const ExprState& state_;
  const ExprPlace place_;
  uint64_t* words_;
};

}  // namespace
}  // namespace attnrt::cpu
