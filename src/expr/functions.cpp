// SPDX-License-Identifier: Apache-2.0
// The vocabulary of the text form, mapped to the builders of expr.hpp.
#include "src/expr/functions.hpp"

#include <algorithm>
#include <limits>

namespace attnrt::expr {
namespace {

using Operands = std::span<const Expr>;

struct Function {
  std::string_view name;
  int num_arguments;
  Expr (*build)(Operands);
};

template <Expr (*function)(const Expr&)>
Expr one(Operands x) {
  return function(x[0]);
}

template <Expr (*function)(const Expr&, const Expr&)>
Expr two(Operands x) {
  return function(x[0], x[1]);
}

template <Expr (*function)(const Expr&, const Expr&, const Expr&)>
Expr three(Operands x) {
  return function(x[0], x[1], x[2]);
}

constexpr Function kFunctions[] = {
    {"abs", 1, one<abs>},         {"min", 2, two<min>},           {"max", 2, two<max>},
    {"clamp", 3, three<clamp>},   {"floordiv", 2, two<floordiv>}, {"floormod", 2, two<floormod>},
    {"select", 3, three<select>}, {"to_float", 1, one<to_float>}, {"fma", 3, three<fma>},
    {"exp", 1, one<exp>},         {"exp2", 1, one<exp2>},         {"log", 1, one<log>},
    {"log1p", 1, one<log1p>},     {"tanh", 1, one<tanh>},         {"sigmoid", 1, one<sigmoid>},
    {"erf", 1, one<erf>},         {"sqrt", 1, one<sqrt>},         {"rsqrt", 1, one<rsqrt>},
    {"sin", 1, one<sin>},         {"cos", 1, one<cos>},           {"pow", 2, two<pow>},
    {"then", 2, two<then>},
};

constexpr Function kPrefixes[] = {
    {"-", 1, [](Operands x) { return -x[0]; }},
    {"!", 1, [](Operands x) { return !x[0]; }},
    {"~", 1, [](Operands x) { return ~x[0]; }},
};

struct Infix {
  Function function;
  int precedence;
};

constexpr Infix kInfixes[] = {
    {{"||", 2, [](Operands x) { return x[0] || x[1]; }}, 1},
    {{"&&", 2, [](Operands x) { return x[0] && x[1]; }}, 2},
    {{"|", 2, [](Operands x) { return x[0] | x[1]; }}, 3},
    {{"^", 2, [](Operands x) { return x[0] ^ x[1]; }}, 4},
    {{"&", 2, [](Operands x) { return x[0] & x[1]; }}, 5},
    {{"==", 2, [](Operands x) { return x[0] == x[1]; }}, 6},
    {{"!=", 2, [](Operands x) { return x[0] != x[1]; }}, 6},
    {{"<", 2, [](Operands x) { return x[0] < x[1]; }}, 7},
    {{"<=", 2, [](Operands x) { return x[0] <= x[1]; }}, 7},
    {{">", 2, [](Operands x) { return x[0] > x[1]; }}, 7},
    {{">=", 2, [](Operands x) { return x[0] >= x[1]; }}, 7},
    {{"<<", 2, [](Operands x) { return x[0] << x[1]; }}, 8},
    {{">>", 2, [](Operands x) { return x[0] >> x[1]; }}, 8},
    {{"+", 2, [](Operands x) { return x[0] + x[1]; }}, 9},
    {{"-", 2, [](Operands x) { return x[0] - x[1]; }}, 9},
    {{"*", 2, [](Operands x) { return x[0] * x[1]; }}, 10},
    {{"/", 2, [](Operands x) { return x[0] / x[1]; }}, 10},
    {{"//", 2, [](Operands x) { return floordiv(x[0], x[1]); }}, 10},
    {{"%", 2, [](Operands x) { return x[0] % x[1]; }}, 10},
};

struct Word {
  std::string_view name;
  Expr (*build)();
};

constexpr Word kWords[] = {
    {"q", q},
    {"kv", kv},
    {"b", b},
    {"h", h},
    {"hkv", hkv},
    {"q_len", q_len},
    {"kv_len", kv_len},
    {"score", score},
    {"true", [] { return Expr(true); }},
    {"false", [] { return Expr(false); }},
    {"inf", [] { return Expr(std::numeric_limits<float>::infinity()); }},
    {"nan", [] { return Expr(std::numeric_limits<float>::quiet_NaN()); }},
};

constexpr std::string_view kReductions[] = {
    "sum",     "mean",    "softmax", "logsumexp", "topk",   "top_k", "sort", "argsort",
    "argmax",  "argmin",  "cumsum",  "cumprod",   "cummax", "any",   "all",  "norm",
    "row_max", "row_min", "row_sum", "count",     "reduce", "scan",  "rank", "kth"};
constexpr std::string_view kLoops[] = {"for", "while", "if", "repeat", "map", "fold", "return"};
constexpr std::string_view kWrites[] = {"store", "write", "scatter", "set", "atomic_add", "print"};

template <class List>
bool among(std::string_view name, const List& list) {
  return std::ranges::find(list, name) != std::ranges::end(list);
}

}  // namespace

std::optional<Expr> word(std::string_view name) {
  const auto found = std::ranges::find(kWords, name, &Word::name);
  if (found == std::ranges::end(kWords)) return {};
  return found->build();
}

std::optional<Expr> build_call(std::string_view name, std::span<const Expr> arguments) {
  const auto takes = [&](const Function& function) {
    return function.name == name && static_cast<size_t>(function.num_arguments) == arguments.size();
  };
  for (const Function& function : kFunctions) {
    if (takes(function)) return function.build(arguments);
  }
  for (const Function& function : kPrefixes) {
    if (takes(function)) return function.build(arguments);
  }
  for (const Infix& infix : kInfixes) {
    if (takes(infix.function)) return infix.function.build(arguments);
  }
  return {};
}

int arity(std::string_view function) {
  const auto found = std::ranges::find(kFunctions, function, &Function::name);
  return found == std::ranges::end(kFunctions) ? -1 : found->num_arguments;
}

std::string why_not(std::string_view function) {
  const std::string quoted = std::string("'").append(function.substr(0, 64)).append("'");
  if (among(function, kReductions)) {
    return quoted + " is a reduction over a row, which expressions do not offer";
  }
  if (among(function, kLoops)) return quoted + ": loops and statements are not offered";
  if (among(function, kWrites)) return quoted + ": writes are not offered";
  return quoted + " is not a function";
}

int precedence(std::string_view symbol) {
  for (const Infix& infix : kInfixes) {
    if (infix.function.name == symbol) return infix.precedence;
  }
  return 0;
}

}  // namespace attnrt::expr
