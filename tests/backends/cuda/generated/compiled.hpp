// SPDX-License-Identifier: Apache-2.0
// What print_cases.cpp has printed, compiled.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "tests/support/simt_attend.hpp"

namespace attnrt::test {

struct CompiledExpression {
  std::string_view source;  // as expression_source prints it, by the name of Expression
  SimtExpression functions;
};

/// Defined by the printed file.
std::span<const CompiledExpression> compiled_expressions();

/// Null where nothing of this source was compiled.
inline const SimtExpression* find_compiled(const std::string& source) {
  const std::span<const CompiledExpression> all = compiled_expressions();
  const auto at = std::ranges::find(all, source, &CompiledExpression::source);
  return at == all.end() ? nullptr : &at->functions;
}

}  // namespace attnrt::test
