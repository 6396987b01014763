// SPDX-License-Identifier: Apache-2.0
// The text form: what is read as what, every message, and bytes that mean nothing.
#include <doctest/doctest.h>

#include <random>
#include <string>

#include "src/expr/graph.hpp"
#include "tests/src/expr/catalogue_masks.hpp"

namespace attnrt::expr {
namespace {

Expr parsed(std::string_view text) {
  Expr expression;
  const Status status = parse(text, expression);
  CHECK_MESSAGE(status.ok(), text << ": " << status.message());
  return expression;
}

std::string mistake(std::string_view text) {
  Expr expression = q();
  const Status status = parse(text, expression);
  CHECK(status.code() == Code::kInvalidArgument);
  CHECK(expression.same(q()));  // untouched
  return status.message();
}

TEST_CASE("text means what the operators mean") {
  CHECK(parsed("kv <= q && q - kv < window").same(kv() <= q() && q() - kv() < iparam("window")));
  CHECK(parsed("q + 2 * kv == 3 || !(q < 1)").same(q() + 2 * kv() == 3 || !(q() < 1)));
  CHECK(parsed("q // 4 % 3 < 2").same(floordiv(q(), 4) % 3 < 2));
  CHECK(parsed("1 << 2 + q < 9").same(Expr(1) << (2 + q()) < 9));
  CHECK(parsed("q & 3 | kv ^ 1").same((q() & 3) | (kv() ^ 1)));
  CHECK(parsed("-q - -1").same(-q() - -1));
  CHECK(parsed("0x1f + .5 + 1e-3f + 2.").same(Expr(0x1f) + .5f + 1e-3f + 2.0f));
  CHECK(parsed("\tkv\n<=\r q ").same(kv() <= q()));
  CHECK(parsed("true && kv == q").same(kv() == q()));
  CHECK(parsed("score - inf").same(score() - std::numeric_limits<float>::infinity()));
}

TEST_CASE("names: parameters, buffers, declarations and lets") {
  const Buffer doc = buffer("doc", ElementType::kI32, 1, Order::kSorted);
  CHECK(parsed("sorted i32 doc[]; doc[q] == doc[kv]").same(doc[q()] == doc[kv()]));
  CHECK(parsed("t[q, kv] < w").same(buffer("t", ElementType::kI32, 2)(q(), kv()) < iparam("w")));
  CHECK(
      parsed("float cap; bf16 t[,,,]; score * cap + t[b, h, q, kv]")
          .same(score() * fparam("cap") + buffer("t", ElementType::kBF16, 4)(b(), h(), q(), kv())));
  CHECK(parsed("int w; q < w").same(q() < iparam("w")));
  CHECK(parsed("let d = q - kv; let _0 = d * d; _0 < 9 && d > 0")
            .same((q() - kv()) * (q() - kv()) < 9 && q() - kv() > 0));
  CHECK(parsed("f32 x[,]; f32 y[,]; score + dot(x, y)")
            .same(score() +
                  dot(buffer("x", ElementType::kF32, 2), buffer("y", ElementType::kF32, 2))));
  CHECK(parsed("float cap; then(cap * tanh(score / cap), score + q)")
            .same(fparam("cap") * tanh(score() / fparam("cap")) + q()));
}

struct Row {
  const char* text;
  const char* message;
};

TEST_CASE("mistakes come with their column") {
  const Row rows[] = {
      {"", "column 1: expected an expression, not the end"},
      {"q <", "column 4: expected an expression, not the end"},
      {"q < 3)", "column 6: expected an operator or the end, not ')'"},
      {"(q < 3", "column 7: expected ')', not the end"},
      {"q q", "column 3: expected an operator or the end, not 'q'"},
      {"kv <= q && score * 2.0", "column 9: the right side of '&&' is a float: score * 2.0"},
      {"q < kv < 3", "column 8: the left side of '<' is a predicate: q < kv"},
      {"!q", "column 1: the operand of '!' is an integer: q"},
      {"q / kv", "column 3: both sides of '/' are integers: use floordiv, or to_float: q / kv"},
      {"exp(q, kv)", "column 1: 'exp' has 2 operands, not 1"},
      {"frob(q)", "column 1: 'frob' is not a function"},
      {"q < 1 $ 2", "column 7: '$' is not part of the language"},
      {"q < \xc3\xa4", "column 5: the byte 0xc3 is not part of the language"},
      {"q < 12x", "column 5: a number is malformed"},
      {"q < 1.2.3", "column 5: a number is malformed"},
      {"q < 0x", "column 5: a number is malformed"},
      {"q < 99999999999999999999", "column 5: an integer is beyond 2^40"},
      {"q < 1099511627777", "column 5: an integer is beyond 2^40"},
      {"q < 1e99", "column 5: a number is out of the range of floats"},
      {"q < w && w[q] == 1", "column 10: 'w' is a parameter and cannot be indexed"},
      {"w[q] == w", "column 9: buffer 'w' is used without indices"},
      {"w[q] == w[q, kv]", "column 9: buffer 'w' of rank 1 has 2 indices"},
      {"w[q, q, q, q, q] < 1", "column 1: buffer 'w' has 5 indices, not 1 to 4"},
      {"w[] < 1", "column 1: buffer 'w' has 0 indices, not 1 to 4"},
      {"w[q < 1] < 1", "column 1: index 1 of 'w' is a predicate: q < 1"},
      {"float x[]; x < 1", "column 8: expected ';', not '['"},
      {"i32 x; q < 1", "column 6: expected '[', not ';'"},
      {"i32 x[,,,,]; q < 1", "column 5: buffer 'x' has more than 4 dimensions"},
      {"sorted i32 x[,]; q < 1", "column 12: only buffers of rank 1 are sorted, not 'x'"},
      {"sorted float x; q < 1", "column 8: expected an element type, not 'float'"},
      {"i32 kv[]; q < 1", "column 5: expected a name, not 'kv'"},
      {"int x; int x; q < x", "column 12: 'x' has been declared already"},
      {"let x = q; let x = kv; q < x", "column 16: 'x' has been declared already"},
      {"let x q; q < x", "column 7: expected '=', not 'q'"},
      {"let x = q; x[3] < 1",
       "column 12: 'x' cannot be indexed: only captured buffers can, an expression sees one "
       "score at a time"},
      {"_x < 1", "column 1: expected an expression, not '_x'"},
      {"q ? 1 : 2", "column 3: expected an operator or the end, not '?'"},
      {"score + dot(x, y)", "column 13: expected a declared buffer, not 'x'"},
      {"f32 x[]; score + dot(x, x)", "column 18: the q side of 'dot', 'x', has rank 1, not 2 to 4"},
  };
  for (const Row& row : rows) CHECK(mistake(row.text) == row.message);
}

TEST_CASE("what is out of scope is refused as such") {
  const Row rows[] = {
      {"topk(score, 8) >= score",
       "column 1: 'topk' is a reduction over a row, which expressions do not offer"},
      {"score + cumsum(sigmoid(score))",
       "column 9: 'cumsum' is a reduction over a row, which expressions do not offer"},
      {"score - max(score)",
       "column 9: 'max' has 1 operands, not 2; reductions over a row are not offered"},
      {"score[q, kv - 1] < score",
       "column 1: 'score' cannot be indexed: only captured buffers can, an expression sees one "
       "score at a time"},
      {"for(q < 3)", "column 1: 'for': loops and statements are not offered"},
      {"store(q, 1)", "column 1: 'store': writes are not offered"},
      {"q = 1", "column 3: writes are not offered; '==' compares, 'let' names a value"},
  };
  for (const Row& row : rows) CHECK(mistake(row.text) == row.message);
}

TEST_CASE("depth and length are limited") {
  const auto repeated = [](const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
  };
  CHECK(parsed(repeated("(", 500) + "q < 1" + repeated(")", 500)).same(q() < 1));
  CHECK(mistake(repeated("(", 10000)) == "column 513: nested deeper than 512");
  CHECK(mistake(repeated("!", 60000)) == "column 513: nested deeper than 512");
  CHECK(mistake(repeated("abs(", 10000)) == "column 2049: nested deeper than 512");
  CHECK(mistake("q" + repeated("+q", 600)) ==
        "column 1024: the expression is nested deeper than 512 operations");
  CHECK(mistake(std::string(100000, ' ')) == "the text has 100000 bytes, more than 65536");
  CHECK(mistake(std::string(60, 'x') + "(q)") ==
        "column 1: '" + std::string(60, 'x') + "' is not a function");
}

// Bytes changed, dropped and doubled: whatever parses must round-trip, the rest must say where.
TEST_CASE("20,000 damaged texts are read or refused, never worse") {
  std::mt19937 random(3);
  const auto below = [&](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  int read = 0;
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    const auto masks = catalogue::masks();
    std::string text = masks[below(masks.size())].text;
    for (size_t edits = 1 + below(3); edits > 0; --edits) {
      const size_t at = below(text.size());
      static constexpr std::string_view kBytes = "()[],;=<>!&|^~+-*/%.0123456789qkvbhe_ \xff";
      const size_t kind = below(3);
      if (kind == 0) text[at] = kBytes[below(kBytes.size())];
      if (kind == 1 && text.size() > 1) text.erase(at, 1 + below(4));
      if (kind == 2) text.insert(at, text.substr(below(text.size()), below(12)));
      if (text.empty()) text.push_back('q');
    }
    Expr expression;
    const Status status = parse(text, expression);
    if (status.ok()) {
      Expr again;
      CHECK_MESSAGE((parse(to_string(expression), again).ok() && again.same(expression)), text);
      ++read;
    } else {
      CHECK_MESSAGE(status.message().starts_with("column "), text);
      ++refused;
    }
  }
  CHECK(read > 500);
  CHECK(refused > 5000);
}

}  // namespace
}  // namespace attnrt::expr
