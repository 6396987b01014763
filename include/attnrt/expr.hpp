// SPDX-License-Identifier: Apache-2.0
// Masks and scores as expressions over positions, heads, parameters and captured tables. They are
// data, not code: nothing is compiled on the target, and the library can reason about them.
//
//   using namespace attnrt::expr;
//   Buffer doc = buffer("doc", ElementType::kI32, 1);
//   Expr mask = kv() <= q() && q() - kv() < iparam("window") && doc[q()] == doc[kv()];
//   Expr score = then(50.0f * tanh(attnrt::expr::score() / 50.0f), ...);
//
// What an expression means, for every machine that evaluates one:
// * q() and kv() are logical positions in their sequence, never places in a cache. score() is the
//   scaled score. A mask is a predicate: true means that the row sees the key.
// * Integers are 64-bit two's complement and wrap. A machine may compute in 32 bits only where the
//   ranges of lengths and slots prove that nothing is lost.
// * floordiv and floormod round towards minus infinity; both are 0 where the divisor is 0.
// * A shift by a count outside [0, 63] gives what a shift by 64 would: << 0, >> 0 or -1 by the
// sign.
// * Floats are binary32; + - * / fma sqrt and conversions round to nearest even, one operation at a
//   time, never contracted. The other functions are accurate to a few ulp, so a mask that compares
//   their results may differ between machines where the two sides are that close.
// * < <= > >= == with a NaN are false, != is true. min(a, b) is a < b ? a : b, max(a, b) is
//   a > b ? a : b, so a NaN on either side gives b.
// * An integer becomes a float where the other operand is one. Nothing else converts by itself:
//   select(p, 1, 0) makes a predicate a number.
// * Indices into captured buffers are clamped to [0, extent), dimension by dimension.
// * && || do not promise an order of evaluation; no operation can fail, so none can be seen.
//
// Loops, reductions over a row and writes are no part of the language.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "attnrt/status.hpp"

namespace attnrt::expr {

struct Node;
struct ProgramData;

/// Limits. Beyond kMaxDepth an expression carries an error; the others are checked by compile_*,
/// kMaxTextBytes by parse.
inline constexpr int32_t kMaxDepth = 512;
inline constexpr int32_t kMaxNodes = 4096;
inline constexpr int32_t kMaxSlots = 64;
inline constexpr int32_t kMaxTextBytes = 1 << 16;

/// Literals and integer parameters lie in [-kMaxInt, kMaxInt].
inline constexpr int64_t kMaxInt = int64_t{1} << 40;

enum class Type : uint8_t { kInt, kFloat, kPredicate };

/// Elements of captured buffers. kBool is a byte, true where not 0; it is read as a predicate.
enum class ElementType : uint8_t { kI32, kI8, kBool, kF32, kBF16 };

enum class SlotKind : uint8_t { kInt, kFloat, kBuffer };

/// A place for a value that is given when a plan is made or run.
struct Slot {
  std::string name;
  SlotKind kind = SlotKind::kInt;
  ElementType element = ElementType::kI32;  // of a buffer
  int32_t rank = 0;                         // of a buffer, 1 to 4
  bool sorted = false;                      // promised to be ascending; rank 1, checked when bound

  bool operator==(const Slot&) const = default;
};

/// A node of an immutable graph, in which equal sub-expressions are one node. Copies are cheap and
/// may be used by any number of threads. Mistakes (a predicate that is added, ..) do not throw: the
/// result carries the first of them and compile_* reports it. Only std::bad_alloc can be thrown.
class Expr {
 public:
  Expr() noexcept = default;
  explicit Expr(std::shared_ptr<const Node> node) noexcept : node_(std::move(node)) {}

  /// A literal: bool, an integer or a float.
  template <class T>
  requires std::is_arithmetic_v<T> Expr(
      T value) {  // NOLINT(google-explicit-constructor): kv() < 4096 is the point
    if constexpr (std::is_same_v<T, bool>) {
      *this = predicate_literal(value);
    } else if constexpr (std::is_integral_v<T>) {
      const bool fits = std::is_signed_v<T> || static_cast<uint64_t>(value) <= INT64_MAX;
      *this = int_literal(fits ? static_cast<int64_t>(value) : INT64_MAX);
    } else {
      *this = float_literal(static_cast<float>(value));
    }
  }

  /// False for an empty expression and for one that carries a mistake.
  [[nodiscard]] bool valid() const noexcept;

  /// The mistake, or an empty string.
  [[nodiscard]] std::string error() const;

  /// Of a valid expression.
  [[nodiscard]] Type type() const noexcept;

  /// Whether both are the same node. (== builds a comparison.)
  [[nodiscard]] bool same(const Expr& other) const noexcept { return node_ == other.node_; }

  [[nodiscard]] const std::shared_ptr<const Node>& node() const noexcept { return node_; }

 private:
  static Expr predicate_literal(bool value);
  static Expr int_literal(int64_t value);
  static Expr float_literal(float value);

  std::shared_ptr<const Node> node_;
};

// Leaves. b() is the sequence's index in the batch, h() the query head, hkv() its KV head. q() runs
// from q_start on, kv() from 0 to kv_len() - 1. score() exists in scores only.
Expr q();
Expr kv();
Expr b();
Expr h();
Expr hkv();
Expr q_len();
Expr kv_len();
Expr score();

/// Parameters: a name stands for one slot, wherever it is used. Names are [A-Za-z][A-Za-z0-9_]*
/// and not words of the language.
Expr iparam(std::string_view name);
Expr fparam(std::string_view name);

/// A captured table: bias(h(), q() - kv()), doc[q()].
class Buffer {
 public:
  Buffer(Slot slot) : slot_(std::move(slot)) {}  // NOLINT(google-explicit-constructor)

  Expr operator[](const Expr& index) const { return load({index}); }

  template <class... Index>
  Expr operator()(const Index&... index) const {
    return load({Expr(index)...});
  }

  [[nodiscard]] const Slot& slot() const noexcept { return slot_; }

 private:
  [[nodiscard]] Expr load(std::initializer_list<Expr> index) const;
  Slot slot_;
};

enum class Order : uint8_t { kAny, kSorted };

Buffer buffer(std::string_view name, ElementType element, int32_t rank, Order order = Order::kAny);

// Numbers. Mixed operands become floats. There is no integer '/': it would be read as two things.
Expr operator+(const Expr& x, const Expr& y);
Expr operator-(const Expr& x, const Expr& y);
Expr operator*(const Expr& x, const Expr& y);
Expr operator/(const Expr& x, const Expr& y);  // floats
Expr operator-(const Expr& x);
Expr abs(const Expr& x);
Expr min(const Expr& x, const Expr& y);
Expr max(const Expr& x, const Expr& y);
Expr clamp(const Expr& x, const Expr& low, const Expr& high);  // min(max(x, low), high)

// Integers. & | ^ ~ take two predicates as well, and are && || xor ! then.
Expr floordiv(const Expr& x, const Expr& y);
Expr floormod(const Expr& x, const Expr& y);
Expr operator%(const Expr& x, const Expr& y);  // floormod
Expr operator<<(const Expr& x, const Expr& count);
Expr operator>>(const Expr& x, const Expr& count);
Expr operator&(const Expr& x, const Expr& y);
Expr operator|(const Expr& x, const Expr& y);
Expr operator^(const Expr& x, const Expr& y);
Expr operator~(const Expr& x);

// Predicates. == and != also compare predicates.
Expr operator<(const Expr& x, const Expr& y);
Expr operator<=(const Expr& x, const Expr& y);
Expr operator>(const Expr& x, const Expr& y);
Expr operator>=(const Expr& x, const Expr& y);
Expr operator==(const Expr& x, const Expr& y);
Expr operator!=(const Expr& x, const Expr& y);
Expr operator&&(const Expr& x, const Expr& y);
Expr operator||(const Expr& x, const Expr& y);
Expr operator!(const Expr& x);

/// x where the predicate holds, else y: two numbers or two predicates.
Expr select(const Expr& predicate, const Expr& x, const Expr& y);

// Floats; integers are converted.
Expr to_float(const Expr& x);
Expr fma(const Expr& x, const Expr& y, const Expr& z);  // x * y + z, rounded once
Expr exp(const Expr& x);
Expr exp2(const Expr& x);
Expr log(const Expr& x);
Expr log1p(const Expr& x);
Expr tanh(const Expr& x);
Expr sigmoid(const Expr& x);
Expr erf(const Expr& x);
Expr sqrt(const Expr& x);
Expr rsqrt(const Expr& x);
Expr sin(const Expr& x);
Expr cos(const Expr& x);
Expr pow(const Expr& x, const Expr& y);

/// Sum over d of q_side[.., q, d] * kv_side[.., kv, d]. Sides are f32 or bf16 buffers of rank 2
/// (position, d), 3 (head, position, d) or 4 (batch, head, position, d); the head is h() on the
/// q side and hkv() on the other. A score may only add it to the raw score, because it is computed
/// as extra columns of q and K: score() + dot(..), score() + 0.5f * dot(..).
Expr dot(const Buffer& q_side, const Buffer& kv_side);

/// `next`, with score() replaced by `first`: then(softcap, alibi) caps first.
Expr then(const Expr& first, const Expr& next);

/// The text of an expression; parse(to_string(e)) is the same node as e. A mistake's text is
/// "error: " and its message.
std::string to_string(const Expr& expression);

/// Reads "kv <= q && q - kv < window": operators and their precedence as in C++, // and % for
/// floordiv and floormod, the names of the functions above. A name that is not declared is an
/// integer parameter, or an i32 buffer where it is indexed: doc[q], bias[h, q - kv]. Declarations
/// come first: "float cap; sorted i32 doc[]; bf16 bias[,]; let d = q - kv; score + bias[h, d]".
/// Errors: InvalidArgument, "column 12: .."; `expression` is untouched then.
Status parse(std::string_view text, Expr& expression);

/// A checked mask, ready for plans. Cheap to copy; immutable.
class MaskProgram {
 public:
  [[nodiscard]] bool valid() const noexcept { return data_ != nullptr; }
  [[nodiscard]] bool uses_head() const noexcept;
  [[nodiscard]] bool uses_batch() const noexcept;
  [[nodiscard]] std::span<const Slot> slots() const noexcept;

  /// For the library's own use.
  [[nodiscard]] const ProgramData* data() const noexcept { return data_.get(); }

 private:
  friend Status compile_mask(const Expr&, MaskProgram&);
  std::shared_ptr<const ProgramData> data_;
};

/// A checked score, ready for plans. Cheap to copy; immutable.
class ScoreProgram {
 public:
  [[nodiscard]] bool valid() const noexcept { return data_ != nullptr; }
  [[nodiscard]] bool uses_head() const noexcept;
  [[nodiscard]] bool uses_batch() const noexcept;
  [[nodiscard]] bool uses_score() const noexcept;
  [[nodiscard]] std::span<const Slot> slots() const noexcept;

  /// For the library's own use.
  [[nodiscard]] const ProgramData* data() const noexcept { return data_.get(); }

 private:
  friend Status compile_score(const Expr&, ScoreProgram&);
  std::shared_ptr<const ProgramData> data_;
};

/// Checks an expression and lays it out for the machines that run it, in microseconds. The program
/// is untouched on error. Errors: InvalidArgument with the text of the sub-expression at fault.
Status compile_mask(const Expr& expression, MaskProgram& program);
Status compile_score(const Expr& expression, ScoreProgram& program);

/// The value of a slot. Buffers are borrowed.
struct SlotValue {
  std::string_view name;
  SlotKind kind = SlotKind::kInt;
  int64_t int_value = 0;
  float float_value = 0.0f;
  ElementType element = ElementType::kI32;
  const void* data = nullptr;
  int32_t rank = 0;
  std::array<int64_t, 4> shape{};
  std::array<int64_t, 4> strides{};  // elements; 0 repeats a dimension
};

SlotValue int_value(std::string_view name, int64_t value);
SlotValue float_value(std::string_view name, float value);

/// A dense row-major buffer. More than four extents make a rank that is refused when it is bound.
SlotValue buffer_value(std::string_view name, ElementType element, const void* data,
                       std::initializer_list<int64_t> shape);

/// "i32", "f32", "bool" ..
const char* to_string(ElementType element) noexcept;

}  // namespace attnrt::expr
