// SPDX-License-Identifier: Apache-2.0
// Cuts the text form of an expression into tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace attnrt::expr {

enum class TokenKind : uint8_t { kEnd, kName, kInt, kFloat, kSymbol, kBad };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string_view text{};
  size_t column = 1;  // in bytes, the first is 1
  int64_t int_value = 0;
  float float_value = 0.0f;
  std::string mistake{};  // of kBad
};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  /// The next token; kEnd for ever at the end, kBad for what is no token.
  Token next();

 private:
  Token number();
  Token bad(size_t begin, std::string mistake) const;
  std::string_view take_while(bool (*legal)(char));

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace attnrt::expr
