// SPDX-License-Identifier: Apache-2.0
// Tokens of the text form. Locale-independent, and indifferent to what bytes it is given.
#include "src/expr/lexer.hpp"

#include <array>
#include <charconv>
#include <utility>

#include "attnrt/expr.hpp"

namespace attnrt::expr {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
constexpr bool is_name_char(char c) { return starts_name(c) || is_digit(c); }
constexpr bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Longer ones first.
constexpr std::array<std::string_view, 29> kSymbols = {
    "&&", "||", "==", "!=", "<=", ">=", "<<", ">>", "//", "<", ">", "+", "-", "*", "/",
    "%",  "&",  "|",  "^",  "~",  "!",  "(",  ")",  "[",  "]", ",", ";", "=", "?"};

std::string quote(char c) {
  if (c > ' ' && c < 127) return std::string("'") + c + "'";
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  return std::string("the byte 0x") + kHex[byte >> 4] + kHex[byte & 15];
}

}  // namespace

Token Lexer::bad(size_t begin, std::string mistake) const {
  Token token{.kind = TokenKind::kBad, .text = text_.substr(begin, at_ - begin)};
  token.column = begin + 1;
  token.mistake = std::move(mistake);
  return token;
}

std::string_view Lexer::take_while(bool (*legal)(char)) {
  const size_t begin = at_;
  while (at_ < text_.size() && legal(text_[at_])) ++at_;
  return text_.substr(begin, at_ - begin);
}

Token Lexer::number() {
  const size_t begin = at_;
  Token token{.kind = TokenKind::kInt, .column = begin + 1};
  const bool hex = text_.substr(at_, 2) == "0x" || text_.substr(at_, 2) == "0X";
  if (hex) at_ += 2;
  const char* first = text_.data() + at_;
  const char* last = text_.data() + text_.size();
  auto end = std::from_chars(first, last, token.int_value, hex ? 16 : 10);
  const char* after_digits = end.ptr;
  if (!hex && after_digits != last &&
      (*after_digits == '.' || *after_digits == 'e' || *after_digits == 'E')) {
    token.kind = TokenKind::kFloat;
    end = std::from_chars(first, last, token.float_value);
  }
  if (end.ec == std::errc::invalid_argument) return bad(begin, "a number is malformed");
  at_ = static_cast<size_t>(end.ptr - text_.data());
  const bool too_large = token.kind == TokenKind::kInt && token.int_value > kMaxInt;
  if (end.ec == std::errc::result_out_of_range || too_large) {
    take_while(is_name_char);
    return bad(begin, token.kind == TokenKind::kInt ? "an integer is beyond 2^40"
                                                    : "a number is out of the range of floats");
  }
  if (token.kind == TokenKind::kFloat && at_ < text_.size() && text_[at_] == 'f') ++at_;
  if (at_ < text_.size() && (is_name_char(text_[at_]) || text_[at_] == '.')) {
    return bad(begin, "a number is malformed");
  }
  token.text = text_.substr(begin, at_ - begin);
  return token;
}

Token Lexer::next() {
  take_while(is_space);
  const size_t begin = at_;
  if (begin == text_.size()) return {.kind = TokenKind::kEnd, .column = begin + 1};
  const char c = text_[begin];
  if (is_digit(c) || (c == '.' && begin + 1 < text_.size() && is_digit(text_[begin + 1]))) {
    return number();
  }
  if (starts_name(c)) {
    return {.kind = TokenKind::kName, .text = take_while(is_name_char), .column = begin + 1};
  }
  for (std::string_view symbol : kSymbols) {
    if (!text_.substr(begin).starts_with(symbol)) continue;
    at_ += symbol.size();
    return {.kind = TokenKind::kSymbol, .text = symbol, .column = begin + 1};
  }
  ++at_;
  return bad(begin, quote(c) + " is not part of the language");
}

}  // namespace attnrt::expr
