// SPDX-License-Identifier: Apache-2.0
// How each operation is written, and which words are taken.
#include <algorithm>
#include <array>
#include <cctype>

#include "src/expr/graph.hpp"

namespace attnrt::expr {
namespace {

constexpr OpInfo name(std::string_view text) { return {text, Notation::kName, 0, 0}; }
constexpr OpInfo infix(std::string_view text, int precedence) {
  return {text, Notation::kInfix, precedence, 2};
}
constexpr OpInfo prefix(std::string_view text) { return {text, Notation::kPrefix, 11, 1}; }
constexpr OpInfo call(std::string_view text, int num_operands) {
  return {text, Notation::kCall, 0, num_operands};
}

// In the order of Op.
constexpr std::array<OpInfo, kOpCount> kInfo = {
    OpInfo{},
    name("q"),
    name("kv"),
    name("b"),
    name("h"),
    name("hkv"),
    name("q_len"),
    name("kv_len"),
    name("score"),
    OpInfo{},
    OpInfo{},
    OpInfo{},
    OpInfo{},
    call("dot", 2),
    infix("+", 9),
    infix("-", 9),
    infix("*", 10),
    prefix("-"),
    call("abs", 1),
    call("min", 2),
    call("max", 2),
    call("floordiv", 2),
    call("floormod", 2),
    infix("&", 5),
    infix("|", 3),
    infix("^", 4),
    infix("<<", 8),
    infix(">>", 8),
    infix("<", 7),
    infix("<=", 7),
    infix("==", 6),
    infix("!=", 6),
    infix("&&", 2),
    infix("||", 1),
    infix("^", 4),
    prefix("!"),
    call("select", 3),
    call("to_float", 1),
    infix("/", 10),
    call("fma", 3),
    call("exp", 1),
    call("exp2", 1),
    call("log", 1),
    call("log1p", 1),
    call("tanh", 1),
    call("sigmoid", 1),
    call("erf", 1),
    call("sqrt", 1),
    call("rsqrt", 1),
    call("sin", 1),
    call("cos", 1),
    call("pow", 2),
};

constexpr std::string_view kOtherWords[] = {"clamp", "true", "false", "inf",   "nan",
                                            "let",   "int",  "float", "i32",   "i8",
                                            "bool",  "f32",  "bf16",  "sorted"};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

const OpInfo& info(Op op) { return kInfo[static_cast<size_t>(op)]; }

std::string_view describe(Type type) {
  switch (type) {
    case Type::kInt:
      return "an integer";
    case Type::kFloat:
      return "a float";
    case Type::kPredicate:
      break;
  }
  return "a predicate";
}

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > 64 || !is_letter(text[0])) return false;
  const auto legal = [](char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_'; };
  if (!std::ranges::all_of(text, legal)) return false;
  return !std::ranges::any_of(kInfo, [&](const OpInfo& op) { return op.text == text; }) &&
         std::ranges::find(kOtherWords, text) == std::ranges::end(kOtherWords);
}

const char* to_string(ElementType element) noexcept {
  switch (element) {
    case ElementType::kI32:
      return "i32";
    case ElementType::kI8:
      return "i8";
    case ElementType::kBool:
      return "bool";
    case ElementType::kF32:
      return "f32";
    case ElementType::kBF16:
      break;
  }
  return "bf16";
}

}  // namespace attnrt::expr
