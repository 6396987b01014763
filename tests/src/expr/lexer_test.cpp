// SPDX-License-Identifier: Apache-2.0
// Tokens: kinds, values, columns.
#include "src/expr/lexer.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace attnrt::expr {
namespace {

std::vector<Token> tokens(std::string_view text) {
  Lexer lexer(text);
  std::vector<Token> all;
  for (;;) {
    all.push_back(lexer.next());
    if (all.back().kind == TokenKind::kEnd) return all;
  }
}

TEST_CASE("symbols are as long as they can be") {
  const std::vector<Token> all = tokens("<<=<=>>>==!=!//%&&&|||;");
  const char* expected[] = {"<<", "=", "<=", ">>", ">=", "=", "!=", "!",
                            "//", "%", "&&", "&",  "||", "|", ";"};
  REQUIRE(all.size() == std::size(expected) + 1);
  for (size_t i = 0; i < std::size(expected); ++i) {
    CHECK(all[i].kind == TokenKind::kSymbol);
    CHECK(all[i].text == expected[i]);
  }
}

TEST_CASE("names, numbers and columns") {
  const std::vector<Token> all = tokens("  kv_2 _x 12 0x1F 1.5 .25f 3e2\n7");
  REQUIRE(all.size() == 9);
  CHECK((all[0].kind == TokenKind::kName && all[0].text == "kv_2" && all[0].column == 3));
  CHECK((all[1].kind == TokenKind::kName && all[1].text == "_x"));
  CHECK((all[2].kind == TokenKind::kInt && all[2].int_value == 12));
  CHECK((all[3].kind == TokenKind::kInt && all[3].int_value == 31));
  CHECK((all[4].kind == TokenKind::kFloat && all[4].float_value == 1.5f));
  CHECK((all[5].kind == TokenKind::kFloat && all[5].float_value == 0.25f));
  CHECK((all[6].kind == TokenKind::kFloat && all[6].float_value == 300.0f));
  CHECK((all[7].kind == TokenKind::kInt && all[7].int_value == 7 && all[7].column == 32));
  CHECK((all[8].kind == TokenKind::kEnd && all[8].column == 33));
}

TEST_CASE("every byte is a token, a space, or refused; none is skipped or loops") {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = {'q', static_cast<char>(byte), 'q'};
    Lexer lexer(text);
    int count = 0;
    while (lexer.next().kind != TokenKind::kEnd) ++count;
    CHECK(count >= 1);
    CHECK(count <= 3);
    const bool space = byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
    if (space) CHECK(count == 2);
  }
  Token first = Lexer("@").next();
  CHECK((first.kind == TokenKind::kBad && first.mistake == "'@' is not part of the language"));
  first = Lexer(std::string_view("\0", 1)).next();
  CHECK(first.mistake == "the byte 0x00 is not part of the language");
}

}  // namespace
}  // namespace attnrt::expr
