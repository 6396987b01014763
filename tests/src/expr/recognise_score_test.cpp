// SPDX-License-Identifier: Apache-2.0
// Softcap, ALiBi and dot products that a plan can give to the built-in options, and their
// neighbours that it cannot.
#include <doctest/doctest.h>

#include <string>

#include "src/expr/recognise.hpp"

namespace attnrt::expr {
namespace {

Status compile_text(const std::string& text, ScoreProgram& program) {
  Expr expression;
  const Status parsed = parse(text, expression);
  REQUIRE_MESSAGE(parsed.ok(), text << ": " << parsed.message());
  return compile_score(expression, program);
}

ScoreProgram compiled(const std::string& text) {
  ScoreProgram program;
  const Status status = compile_text(text, program);
  REQUIRE_MESSAGE(status.ok(), text << ": " << status.message());
  return program;
}

ScoreForm form(const std::string& text) { return compiled(text).data()->score_form; }

TEST_CASE("softcap by a literal or a parameter") {
  CHECK(form("score").exact);
  CHECK_FALSE(form("score").has_softcap);
  for (const char* text : {"50.0 * tanh(score / 50.0)", "tanh(score / 50) * 50",
                           "50 * tanh(score * 0.02)", "50.0 * tanh(0.02 * score)"}) {
    const ScoreForm f = form(text);
    CHECK_MESSAGE(f.exact, text);
    CHECK_MESSAGE((f.has_softcap && f.softcap == 50.0f && f.softcap_slot == -1), text);
  }
  const ScoreForm by_slot = form("float cap; cap * tanh(score / cap)");
  CHECK((by_slot.exact && by_slot.softcap_slot == 0));
  for (const char* text :
       {"50.0 * tanh(score / 49.0)", "-50.0 * tanh(score / -50.0)", "50.0 * tanh(score * 0.021)",
        "float a; float b2; a * tanh(score / b2)", "50.0 * tanh((score + 1.0) / 50.0)",
        "50.0 * sigmoid(score / 50.0)", "50.0 + tanh(score / 50.0)", "h * tanh(score / h)"}) {
    CHECK_MESSAGE(!form(text).exact, text);
    CHECK_MESSAGE(!form(text).has_softcap, text);
  }
}

struct Row {
  const char* text;
  bool absolute;
  bool negated;
};

TEST_CASE("ALiBi: slope * (kv - q), or -slope * |q - kv|, in any order and sign") {
  const std::string slopes = "f32 slopes[]; ";
  const Row rows[] = {
      {"score + slopes[h] * (kv - q)", false, false},
      {"score + slopes[h] * (q - kv)", false, true},
      {"score - slopes[h] * (q - kv)", false, false},
      {"(kv - q) * slopes[h] + score", false, false},
      {"score - slopes[h] * -(kv - q)", false, false},
      {"score + -(slopes[h] * (kv - q))", false, true},
      {"score - slopes[h] * abs(q - kv)", true, false},
      {"score + slopes[h] * abs(kv - q)", true, true},
      {"score + -abs(q - kv) * slopes[h]", true, false},
      {"2.5 * tanh(score / 2.5) - slopes[h] * abs(q - kv)", true, false},
  };
  for (const Row& row : rows) {
    const ScoreProgram program = compiled(slopes + row.text);
    const ScoreForm& f = program.data()->score_form;
    CHECK_MESSAGE((f.exact && f.has_alibi), row.text);
    CHECK_MESSAGE(f.alibi_absolute == row.absolute, row.text);
    CHECK_MESSAGE(f.slope_negated == row.negated, row.text);
    REQUIRE(f.slope >= 0);
    CHECK_MESSAGE(program.data()->nodes[size_t(f.slope)].op == Op::kLoad, row.text);
  }
  const ScoreForm formula = form("score + exp2(-8.0 * (h + 1) / 16) * (kv - q)");
  CHECK((formula.exact && formula.has_alibi && !formula.slope_negated));
  CHECK(form("f32 s[,]; score - s[b, h] * abs(q - kv)").exact);
}

TEST_CASE("nearly ALiBi") {
  for (const char* text :
       {"f32 s[]; score + s[q] * (kv - q)", "f32 s[]; score + s[h] * (kv - 2 * q)",
        "f32 s[]; score + s[h] * (kv - q + 1)", "f32 s[]; score * s[h] * (kv - q)",
        "f32 s[]; s[h] * (kv - q) - score", "f32 s[]; score + s[h] + (kv - q)",
        "f32 s[]; 2.0 * tanh((score + s[h] * (kv - q)) / 2.0)",
        "f32 s[]; score + s[h] * abs(q + kv)", "f32 s[]; score + s[h] * (kv - q) + 1.0"}) {
    CHECK_MESSAGE(!form(text).exact, text);
    CHECK_MESSAGE(!form(text).has_alibi, text);
  }
}

TEST_CASE("dot is taken out where it is added to the raw score") {
  const std::string sides = "f32 x[,]; f32 y[,]; f32 z[,]; ";
  for (const char* text : {"score + dot(x, y)", "dot(x, y) + score"}) {
    const ScoreProgram program = compiled(sides + text);
    REQUIRE(program.data()->dots.size() == 1);
    const DotTerm& term = program.data()->dots[0];
    CHECK(program.slots()[size_t(term.q_slot)].name == "x");
    CHECK(program.slots()[size_t(term.kv_slot)].name == "y");
    CHECK((term.factor == -1 && !term.negated));
    CHECK(program.data()->score_form.exact);
  }
  const ScoreProgram scaled = compiled(sides + "score - 0.5 * dot(x, y) + dot(x, z) * (h + 1)");
  REQUIRE(scaled.data()->dots.size() == 2);
  CHECK((scaled.data()->dots[1].negated && scaled.data()->dots[1].factor >= 0));
  CHECK((!scaled.data()->dots[0].negated && scaled.data()->dots[0].factor >= 0));
  CHECK(form(sides + "2.0 * tanh((score + dot(x, y)) / 2.0)").has_softcap);
  CHECK(compiled(sides + "(score + dot(x, y)) * (score + dot(x, y))").data()->dots.size() == 1);
}

TEST_CASE("dot anywhere else is refused") {
  const std::string sides = "f32 x[,]; f32 y[,]; ";
  for (const char* text :
       {"score * dot(x, y)", "tanh(score) + dot(x, y)", "score + tanh(dot(x, y))",
        "score + q * dot(x, y)", "dot(x, y)", "score + dot(x, y) + score",
        "(score + dot(x, y)) * score", "score * (score + dot(x, y))", "dot(x, y) - score",
        "score + dot(x, y) * dot(x, y)", "score + score + dot(x, y)"}) {
    ScoreProgram program;
    const Status status = compile_text(sides + text, program);
    CHECK_MESSAGE(status.code() == Code::kInvalidArgument, text);
    CHECK_MESSAGE(status.message().starts_with("'dot' may only be added to the raw score"), text);
  }
}

}  // namespace
}  // namespace attnrt::expr
