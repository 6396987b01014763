// SPDX-License-Identifier: Apache-2.0
// The catalogues: every entry compiles, binds and says what its name says.
#include "perf/named_masks.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "perf/cli.hpp"
#include "src/expr/evaluate.hpp"
#include "src/expr/program.hpp"

namespace attnrt::perf {
namespace {

constexpr int32_t kTokens = 128;

// A mask of kTokens x kTokens, asked element by element.
class Mask {
 public:
  explicit Mask(std::string_view name) : named_(named_mask(name, {.tokens = kTokens})) {
    expr::Expr expression;
    Status status = expr::parse(named_.text, expression);
    if (status.ok()) status = expr::Evaluator::create(expression, named_.values(), evaluator_);
    REQUIRE_MESSAGE(status.ok(), status.message());
  }

  bool operator()(int64_t q, int64_t kv) {
    return evaluator_.predicate({.q = q, .kv = kv, .q_len = kTokens, .kv_len = kTokens});
  }

  [[nodiscard]] const std::vector<int32_t>& table(size_t i) const { return named_.tables[i].ints; }

 private:
  NamedExpr named_;
  expr::Evaluator evaluator_;
};

// The first element at which they differ, or nothing.
template <class Expected>
void check_mask(const char* name, const Expected& expected) {
  CAPTURE(name);
  Mask mask(name);
  for (int64_t q = 0; q < kTokens; ++q) {
    for (int64_t kv = 0; kv < kTokens; ++kv) {
      CAPTURE(q);
      CAPTURE(kv);
      REQUIRE(mask(q, kv) == expected(mask, static_cast<size_t>(q), static_cast<size_t>(kv)));
    }
  }
}

TEST_CASE("every named mask compiles, has all its values and leaves some but not every element") {
  for (const std::string& name : mask_names()) {
    CAPTURE(name);
    const NamedExpr named = named_mask(name, {.tokens = 8192});
    expr::Expr expression;
    expr::MaskProgram program;
    REQUIRE(expr::parse(named.text, expression).ok());
    REQUIRE(expr::compile_mask(expression, program).ok());
    expr::Bindings bindings;
    const Status status = expr::bind_slots(program.slots(), named.values(), bindings);
    REQUIRE_MESSAGE(status.ok(), status.message());
    CHECK(named.values().size() == program.slots().size());
    for (const NamedTable& table : named.tables) CHECK(table.shape[0] == 8192);
    if (name == "none" || name == "fm-full") continue;
    Mask mask(name);
    int64_t visible = 0;
    for (int64_t i = 0; i < kTokens * kTokens; ++i) visible += mask(i / kTokens, i % kTokens);
    CHECK(visible > 0);
    CHECK(visible < kTokens * kTokens);
  }
}

TEST_CASE("tables are the same in every run and as long as was asked for") {
  for (const int32_t tokens : {64, 1000, 60000}) {
    const NamedExpr first = named_mask("tracks", {.tokens = tokens});
    const NamedExpr second = named_mask("tracks", {.tokens = tokens});
    REQUIRE(first.tables.size() == 1);
    CHECK(std::ssize(first.tables[0].ints) == tokens);
    CHECK(first.tables[0].ints == second.tables[0].ints);
  }
}

TEST_CASE("hits are sorted by cluster, 5 to 50 in each but the last") {
  const std::vector<int32_t> cluster = named_mask("tracks", {.tokens = 60000}).tables[0].ints;
  CHECK(std::is_sorted(cluster.begin(), cluster.end()));
  for (int32_t id = 0; id < cluster.back(); ++id) {
    const auto hits = std::count(cluster.begin(), cluster.end(), id);
    REQUIRE(hits >= 5);
    REQUIRE(hits <= 50);
  }
}

TEST_CASE("there are 64 documents in a million tokens, and 12 in FlashMask's samples") {
  const auto documents = [](const char* name, int32_t tokens) {
    const NamedExpr named = named_mask(name, {.tokens = tokens});
    const std::vector<int32_t>& doc = named.tables[0].ints;
    CHECK(std::is_sorted(doc.begin(), doc.end()));
    return doc.back() + 1;
  };
  CHECK(documents("documents", 1 << 20) == 64);
  CHECK(documents("documents", 64) == 2);
  CHECK(documents("fm-document", 1 << 15) == 12);
}

TEST_CASE("FlashMask's masks are those of its paper") {
  CHECK(flash_mask_names().size() == 12);
  check_mask("fm-full", [](Mask&, size_t, size_t) { return true; });
  check_mask("fm-causal", [](Mask&, size_t q, size_t kv) { return kv <= q; });
  check_mask("fm-sliding-window",
             [](Mask&, size_t q, size_t kv) { return kv <= q && q - kv < kTokens / 16; });
  check_mask("fm-document",
             [](Mask& m, size_t q, size_t kv) { return m.table(0)[q] == m.table(0)[kv]; });
  check_mask("fm-causal-document", [](Mask& m, size_t q, size_t kv) {
    return kv <= q && m.table(0)[q] == m.table(0)[kv];
  });
  check_mask("fm-global-sliding-window", [](Mask&, size_t q, size_t kv) {
    return std::max(q, kv) - std::min(q, kv) < kTokens / 16 || q < 64 || kv < 64;
  });
  check_mask("fm-causal-blockwise", [](Mask& m, size_t q, size_t kv) {
    return kv <= q && (m.table(0)[q] == m.table(0)[kv] || m.table(0)[q] == 11);
  });
  check_mask("fm-prefix-lm-causal",
             [](Mask&, size_t q, size_t kv) { return kv < kTokens / 2 || kv <= q; });
  check_mask("fm-prefix-lm-document", [](Mask& m, size_t q, size_t kv) {
    const std::vector<int32_t>& doc = m.table(0);
    const auto begin = std::find(doc.begin(), doc.end(), doc[q]) - doc.begin();
    const auto length = std::count(doc.begin(), doc.end(), doc[q]);
    const bool prefix = static_cast<int64_t>(kv) < begin + length * 2 / 5;
    return doc[q] == doc[kv] && (prefix || kv <= q);
  });
  check_mask("fm-qk-sparse", [](Mask&, size_t q, size_t kv) {
    const auto dropped = [](size_t i, size_t begin) {
      return i >= begin && i < begin + kTokens / 32;
    };
    return kv <= q && !dropped(q, kTokens / 2) && !dropped(kv, kTokens / 8);
  });
  check_mask("fm-random-eviction", [](Mask& m, size_t q, size_t kv) {
    return kv <= q && static_cast<int32_t>(q) < m.table(0)[kv];
  });
}

TEST_CASE("answers see their question and themselves, not each other") {
  check_mask("fm-shared-question", [](Mask& m, size_t q, size_t kv) {
    const std::vector<int32_t>& doc = m.table(0);
    const auto begin = std::find(doc.begin(), doc.end(), doc[q]) - doc.begin();
    const auto length = std::count(doc.begin(), doc.end(), doc[q]);
    const int64_t half = begin + length / 2;
    const int64_t answer = std::max<int64_t>(1, (length - length / 2 + 2) / 3);
    const auto part = [&](size_t i) {
      const auto at = static_cast<int64_t>(i);
      return at < half ? -1 : (at - half) / answer;
    };
    return doc[q] == doc[kv] && kv <= q && (part(kv) < 0 || part(q) == part(kv));
  });
}

TEST_CASE("scores: two forms of one function, of which one is recognised") {
  for (const std::string& name : score_names()) {
    CAPTURE(name);
    const NamedExpr named = named_score(name, {.tokens = kTokens, .heads = 4});
    expr::Expr expression;
    expr::ScoreProgram program;
    REQUIRE(expr::parse(named.text, expression).ok());
    REQUIRE(expr::compile_score(expression, program).ok());
    CHECK(program.data()->score_form.exact == (name == "alibi" || name == "softcap"));
  }
  const auto value = [](const char* name, int64_t q, int64_t kv) {
    const NamedExpr named = named_score(name, {.tokens = kTokens, .heads = 4});
    expr::Expr expression;
    expr::Evaluator evaluator;
    REQUIRE(expr::parse(named.text, expression).ok());
    REQUIRE(expr::Evaluator::create(expression, named.values(), evaluator).ok());
    return evaluator.real({.h = 1, .q = q, .kv = kv, .score = 3.0});
  };
  CHECK(value("alibi", 9, 4) == doctest::Approx(3.0 - 5 * 0.0625));
  CHECK(value("alibi-program", 9, 4) == doctest::Approx(value("alibi", 9, 4)));
  CHECK(value("alibi-program", 4, 9) == doctest::Approx(value("alibi", 4, 9)));
  CHECK(value("softcap-program", 0, 0) == doctest::Approx(value("softcap", 0, 0)));
  CHECK(value("bias-table", 0, kTokens - 1) != value("bias-table", 0, kTokens - 2));
  CHECK(value("bias-table", kTokens - 1, 0) != value("bias-table", kTokens - 2, 0));
  CHECK(value("bias-table", 5, 4) == value("bias-table", 8, 7));
}

TEST_CASE("what is no name is text without slots") {
  CHECK(named_mask("kv <= q && min(q, kv) < 60", {.tokens = 64}).tables.empty());
  CHECK(named_score("score * 2", {.tokens = 64}).text == "score * 2");
  const auto refused = [](const char* mask, const char* why) {
    CAPTURE(mask);
    try {
      (void)named_mask(mask, {.tokens = 64});
      FAIL("not refused");
    } catch (const BadInput& error) {
      const std::string message = error.what();
      CAPTURE(message);
      CHECK(message.find(why) != std::string::npos);
      CHECK(message.find("by name: none, causal") != std::string::npos);
      CHECK(message.find('\n') == std::string::npos);
    }
  };
  refused("cauzal", "a mask is a predicate");
  refused("kv <= q &&", "column 11");
  refused("doc[q] == doc[kv]", "'doc' has no value");
  CHECK_THROWS_AS((void)named_score("kv <= q", {.tokens = 64}), BadInput);
}

TEST_CASE("lists are split at commas outside brackets; flashmask is twelve names") {
  CHECK(split_expressions("--mask", "causal,min(q, kv) < 4,t[q, kv]") ==
        std::vector<std::string>{"causal", "min(q, kv) < 4", "t[q, kv]"});
  CHECK(split_expressions("--mask", "flashmask,none").size() == 13);
  CHECK_THROWS_AS(split_expressions("--mask", "causal,,none"), BadInput);
  CHECK_THROWS_AS(split_expressions("--mask", ""), BadInput);
  CHECK_THROWS_AS(split_expressions("--mask", "causal, "), BadInput);
}

}  // namespace
}  // namespace attnrt::perf
