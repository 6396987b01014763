// SPDX-License-Identifier: Apache-2.0
// Programs from their texts, which must be right.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "attnrt/expr.hpp"

namespace attnrt::test {

inline expr::MaskProgram mask_of(const std::string& text) {
  expr::Expr expression;
  REQUIRE(expr::parse(text, expression).message() == "");
  expr::MaskProgram program;
  REQUIRE(expr::compile_mask(expression, program).message() == "");
  return program;
}

inline expr::ScoreProgram score_of(const std::string& text) {
  expr::Expr expression;
  REQUIRE(expr::parse(text, expression).message() == "");
  expr::ScoreProgram program;
  REQUIRE(expr::compile_score(expression, program).message() == "");
  return program;
}

}  // namespace attnrt::test
