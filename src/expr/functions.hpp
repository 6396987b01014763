// SPDX-License-Identifier: Apache-2.0
// What names mean in the text form.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "attnrt/expr.hpp"

namespace attnrt::expr {

/// q, kv, .. and true, false, inf, nan.
std::optional<Expr> word(std::string_view name);

/// Applies a function or infix operator; empty if there is none of that name and arity.
std::optional<Expr> build_call(std::string_view name, std::span<const Expr> arguments);

/// How many operands a function takes; -1 if there is no such function.
int arity(std::string_view function);

/// Why a name that is no function cannot be one: loops, reductions over a row and writes are
/// refused as such.
std::string why_not(std::string_view function);

/// Binds tighter the larger; 0 if the symbol is no infix operator.
int precedence(std::string_view symbol);

}  // namespace attnrt::expr
