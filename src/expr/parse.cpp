// SPDX-License-Identifier: Apache-2.0
// Reads the text form: declarations and lets, then one expression by precedence climbing. The
// first mistake ends it; recursion is bounded by kMaxDepth.
#include <map>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "src/expr/functions.hpp"
#include "src/expr/graph.hpp"
#include "src/expr/lexer.hpp"

namespace attnrt::expr {
namespace {

constexpr size_t kMaxBufferRank = 4;

std::string quote(std::string_view text) {
  return std::string("'").append(text.substr(0, 64)).append("'");
}

std::string describe(const Token& token) {
  return token.kind == TokenKind::kEnd ? "the end" : quote(token.text);
}

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) { advance(); }

  Status run(Expr& expression) {
    while (!failed() && statement()) {
    }
    const Expr result = failed() ? Expr() : infix(1);
    if (!failed() && token_.kind != TokenKind::kEnd) unexpected("an operator or the end");
    if (failed()) return Status(Code::kInvalidArgument, mistake_);
    expression = result;
    return {};
  }

 private:
  [[nodiscard]] bool failed() const { return !mistake_.empty(); }

  Expr fail(size_t column, const std::string& what) {
    if (!failed()) mistake_ = "column " + std::to_string(column) + ": " + what;
    return {};
  }

  Expr unexpected(std::string_view wanted) {
    if (is("=")) {
      return fail(token_.column, "writes are not offered; '==' compares, 'let' names a value");
    }
    return fail(token_.column, "expected " + std::string(wanted) + ", not " + describe(token_));
  }

  void advance() {
    token_ = lexer_.next();
    if (token_.kind == TokenKind::kBad) fail(token_.column, token_.mistake);
  }

  [[nodiscard]] bool is(std::string_view symbol) const {
    return token_.kind == TokenKind::kSymbol && token_.text == symbol;
  }

  bool accept(std::string_view symbol) {
    if (failed() || !is(symbol)) return false;
    advance();
    return true;
  }

  bool expect(std::string_view symbol) {
    if (accept(symbol)) return true;
    unexpected(quote(symbol));
    return false;
  }

  // An expression that carries a mistake ends the parse at `column`.
  Expr checked(Expr expression, size_t column) {
    if (expression.valid()) return expression;
    return fail(column, expression.error());
  }

  // A declaration or a let, with its semicolon. False if what follows is neither.
  bool statement() {
    if (token_.kind != TokenKind::kName) return false;
    if (token_.text == "let") {
      let();
      return true;
    }
    Slot slot;
    slot.kind = SlotKind::kBuffer;
    if (token_.text == "sorted") {
      slot.sorted = true;
      advance();
    }
    if (!element_type(slot)) {
      if (slot.sorted) unexpected("an element type");
      return slot.sorted;
    }
    advance();
    declaration(slot);
    return true;
  }

  bool element_type(Slot& slot) const {
    if (token_.kind != TokenKind::kName) return false;
    if (token_.text == "int" || token_.text == "float") {
      slot.kind = token_.text == "int" ? SlotKind::kInt : SlotKind::kFloat;
      return !slot.sorted;
    }
    for (ElementType element : {ElementType::kI32, ElementType::kI8, ElementType::kBool,
                                ElementType::kF32, ElementType::kBF16}) {
      slot.element = element;
      if (token_.text == to_string(element)) return true;
    }
    return false;
  }

  void declaration(Slot slot) {
    const Token name = token_;
    if (!new_name(name)) return;
    slot.name = name.text;
    if (slot.kind == SlotKind::kBuffer) {
      if (!expect("[")) return;
      slot.rank = 1;
      while (slot.rank <= 4 && accept(",")) ++slot.rank;
      if (slot.rank > 4) {
        fail(name.column, "buffer " + quote(name.text) + " has more than 4 dimensions");
        return;
      }
      if (!expect("]")) return;
      if (slot.sorted && slot.rank != 1) {
        fail(name.column, "only buffers of rank 1 are sorted, not " + quote(name.text));
        return;
      }
    } else {
      slot.element = {};
    }
    slots_.emplace(std::string(name.text), slot);
    expect(";");
  }

  void let() {
    advance();
    const Token name = token_;
    if (!new_name(name) || !expect("=")) return;
    const Expr value = infix(1);
    if (failed()) return;
    lets_.emplace(std::string(name.text), value);
    expect(";");
  }

  // Takes the name that a declaration or a let introduces.
  bool new_name(const Token& name) {
    if (failed()) return false;
    const std::string text(name.text);
    const bool is_let_name = name.text.starts_with("_");  // to_string writes such
    if (name.kind != TokenKind::kName || (!is_let_name && !is_name(name.text))) {
      unexpected("a name");
    } else if (slots_.contains(text) || lets_.contains(text)) {
      fail(name.column, quote(name.text) + " has been declared already");
    } else {
      advance();
    }
    return !failed();
  }

  Expr infix(int min_precedence) {
    Expr left = prefix();
    while (!failed() && token_.kind == TokenKind::kSymbol) {
      const Token op = token_;
      const int tightness = precedence(op.text);
      if (tightness < min_precedence || tightness == 0) break;
      advance();
      const Expr right = infix(tightness + 1);
      if (failed()) break;
      const Expr operands[] = {left, right};
      left = checked(*build_call(op.text, operands), op.column);
    }
    return failed() ? Expr() : left;
  }

  Expr prefix() {
    if (failed()) return {};
    if (++depth_ > kMaxDepth) {
      return fail(token_.column, "nested deeper than " + std::to_string(kMaxDepth));
    }
    const Token op = token_;
    Expr result;
    if (is("-") || is("!") || is("~")) {
      advance();
      const Expr operands[] = {prefix()};
      if (!failed()) result = checked(*build_call(op.text, operands), op.column);
    } else {
      result = primary();
    }
    --depth_;
    return result;
  }

  Expr primary() {
    const Token token = token_;
    switch (token.kind) {
      case TokenKind::kInt:
        advance();
        return Expr(token.int_value);
      case TokenKind::kFloat:
        advance();
        return Expr(token.float_value);
      case TokenKind::kName:
        advance();
        return named(token);
      default:
        break;
    }
    if (!accept("(")) return unexpected("an expression");
    Expr inside = infix(1);
    expect(")");
    return inside;
  }

  Expr named(const Token& name) {
    if (is("(")) return call(name);
    if (const auto let = lets_.find(std::string(name.text)); let != lets_.end()) {
      return is("[") ? not_a_buffer(name) : let->second;
    }
    if (const auto found = word(name.text); found.has_value()) {
      return is("[") ? not_a_buffer(name) : *found;
    }
    if (!is_name(name.text)) {
      return fail(name.column, "expected an expression, not " + quote(name.text));
    }
    return is("[") ? load(name) : parameter(name);
  }

  Expr not_a_buffer(const Token& name) {
    return fail(name.column, quote(name.text) +
                                 " cannot be indexed: only captured buffers can, an "
                                 "expression sees one score at a time");
  }

  Expr parameter(const Token& name) {
    const Slot& slot =
        slots_.try_emplace(std::string(name.text), Slot{.name = std::string(name.text)})
            .first->second;
    if (slot.kind == SlotKind::kBuffer) {
      return fail(name.column, "buffer " + quote(name.text) + " is used without indices");
    }
    const Expr result = slot.kind == SlotKind::kInt ? iparam(name.text) : fparam(name.text);
    return checked(result, name.column);
  }

  Expr load(const Token& name) {
    advance();
    const std::vector<Expr> index = list("]");
    if (failed()) return {};
    if (index.empty() || index.size() > kMaxBufferRank) {
      return fail(name.column, "buffer " + quote(name.text) + " has " +
                                   std::to_string(index.size()) + " indices, not 1 to 4");
    }
    const Slot implied{.name = std::string(name.text),
                       .kind = SlotKind::kBuffer,
                       .rank = static_cast<int32_t>(index.size())};
    const Slot& slot = slots_.try_emplace(implied.name, implied).first->second;
    if (slot.kind != SlotKind::kBuffer) {
      return fail(name.column, quote(name.text) + " is a parameter and cannot be indexed");
    }
    const Buffer buffer(slot);
    switch (index.size()) {
      case 1:
        return checked(buffer(index[0]), name.column);
      case 2:
        return checked(buffer(index[0], index[1]), name.column);
      case 3:
        return checked(buffer(index[0], index[1], index[2]), name.column);
      default:
        return checked(buffer(index[0], index[1], index[2], index[3]), name.column);
    }
  }

  // Expressions up to `close`, which is taken.
  std::vector<Expr> list(std::string_view close) {
    std::vector<Expr> expressions;
    if (accept(close)) return expressions;
    do {
      expressions.push_back(infix(1));
    } while (accept(","));
    expect(close);
    return expressions;
  }

  Expr call(const Token& name) {
    if (name.text == "dot") return dot_call(name);
    const int wanted = arity(name.text);
    if (wanted < 0) return fail(name.column, why_not(name.text));
    advance();
    const std::vector<Expr> arguments = list(")");
    if (failed()) return {};
    if (static_cast<int>(arguments.size()) == wanted) {
      return checked(*build_call(name.text, arguments), name.column);
    }
    std::string what = quote(name.text) + " has " + std::to_string(arguments.size()) +
                       " operands, not " + std::to_string(wanted);
    if ((name.text == "min" || name.text == "max") && arguments.size() == 1) {
      what += "; reductions over a row are not offered";
    }
    return fail(name.column, what);
  }

  Expr dot_call(const Token& name) {
    advance();
    const std::optional<Slot> q_side = declared_buffer();
    if (!expect(",")) return {};
    const std::optional<Slot> kv_side = declared_buffer();
    if (!expect(")") || !q_side || !kv_side) return {};
    return checked(dot(*q_side, *kv_side), name.column);
  }

  std::optional<Slot> declared_buffer() {
    if (failed()) return {};
    const auto found = slots_.find(std::string(token_.text));
    if (token_.kind != TokenKind::kName || found == slots_.end()) {
      unexpected("a declared buffer");
      return {};
    }
    advance();
    return found->second;
  }

  Lexer lexer_;
  Token token_;
  std::string mistake_;
  int depth_ = 0;
  std::map<std::string, Slot> slots_;
  std::map<std::string, Expr> lets_;
};

}  // namespace

Status parse(std::string_view text, Expr& expression) {
  if (text.size() > static_cast<size_t>(kMaxTextBytes)) {
    return Status(Code::kInvalidArgument, "the text has " + std::to_string(text.size()) +
                                              " bytes, more than " + std::to_string(kMaxTextBytes));
  }
  try {
    return Parser(text).run(expression);
  } catch (const std::bad_alloc&) {
    return Status(Code::kOutOfMemory, "no memory for the expression");
  }
}

}  // namespace attnrt::expr
