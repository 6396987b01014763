// SPDX-License-Identifier: Apache-2.0
// Attention with programs and runs of keys against a double-precision loop, and what its bits may
// depend on.
#include <doctest/doctest.h>

#include <array>
#include <cstring>

#include "tests/backends/cpu/expr_case.hpp"

namespace attnrt::test {
namespace {

using expr::Expr;

constexpr int32_t kLongest = 700;

struct Tables {
  std::array<int32_t, kLongest> doc{};
  std::array<float, 2 * kLongest> bias{};
  std::array<uint16_t, 2 * kLongest> half{};
  std::vector<expr::SlotValue> values;
  Tables() {
    for (size_t i = 0; i < doc.size(); ++i) doc[i] = static_cast<int32_t>(i * i / 9000);
    for (size_t i = 0; i < bias.size(); ++i) bias[i] = std::sin(static_cast<float>(i));
    for (size_t i = 0; i < half.size(); ++i) half[i] = f32_to_bf16(-bias[i]);
    values = {expr::buffer_value("doc", expr::ElementType::kI32, doc.data(), {kLongest}),
              expr::buffer_value("bias", expr::ElementType::kF32, bias.data(), {2 * kLongest}),
              expr::buffer_value("half", expr::ElementType::kBF16, half.data(), {2 * kLongest})};
  }
};

Expr parsed(const char* text) {
  Expr expression;
  REQUIRE(parse(text, expression).ok());
  return expression;
}

constexpr const char* kMasks[] = {
    "kv <= q",         "kv <= q && q - kv < 100 && doc[q] == doc[kv]",
    "kv <= q - h * 3", "(kv // 16) % 3 == 1 || q == kv",
    "kv % 5 == h % 2", "kv // 130 == 2",
    "kv < 0",
};
constexpr const char* kScores[] = {
    "score + 0.05 * (kv - q)",
    "f32 bias[]; 3.0 * tanh(score / 3.0) + bias[q - kv + 700] * (h + 1)",
};
// Which read the score once, in their last step.
constexpr const char* kSums[] = {
    "f32 bias[]; score + bias[q - kv + 700]",
    "f32 bias[]; score + bias[q - kv]",
    "bf16 half[]; half[kv - q + 200] + score",
    "bf16 half[]; score + half[2 * q - kv]",
    "f32 bias[]; score - bias[kv]",
    "f32 bias[]; score - bias[q] * (q - kv)",
    "f32 bias[]; score - bias[kv] * abs(q - kv)",
    "score + 0.02 * abs(q - kv)",
};
constexpr int32_t kRows[][3] = {{40, 1, 1}, {13, 4, 2}, {5, 7, 1},
                                {1, 4, 3},  {1, 1, 2},  {70, 2, 1}};

// A case with programs: its runs, its definition, and attention by both.
class Attention {
 public:
  Attention(const KernelShape& s, const char* mask, const char* score)
      : c(s), mask_(parsed(mask), tables_.values, /*is_mask=*/true) {
    REQUIRE(mask_.status().ok());
    if (score == nullptr) return;
    score_ = std::make_unique<TileCase>(parsed(score), tables_.values, /*is_mask=*/false);
    REQUIRE(score_->status().ok());
  }

  [[nodiscard]] bool sees(int32_t token, int32_t head, int32_t key) {
    return c.shape.sees(token, key) &&
           mask_.evaluator().predicate(point_of(c.shape, token, head, key));
  }

  // Of tokens [begin, end), proved in steps of `step` keys; `all`: nothing is proved.
  std::vector<expr::MaskRun> runs(int32_t begin, int32_t end, int32_t step, bool all = false) {
    const KernelShape& s = c.shape;
    std::vector<expr::MaskRun> out;
    for (int32_t key = 0; key < s.kv_len; key += step) {
      const int32_t last = std::min(s.kv_len, key + step);
      bool any_seen = all;
      bool all_seen = !all;
      for (int32_t token = begin; token < end; ++token) {
        for (int32_t head = 0; head < s.heads_q(); ++head) {
          for (int32_t k = key; k < last; ++k) {
            const bool seen = mask_.evaluator().predicate(point_of(s, token, head, k));
            any_seen = any_seen || seen;
            all_seen = all_seen && seen;
          }
        }
      }
      if (any_seen) out.push_back({key, last, all_seen ? 0 : ~uint64_t{0}});
    }
    return out;
  }

  void run(const cpu::KernelTable& table, int32_t begin, int32_t end,
           std::span<const expr::MaskRun> runs, const KernelOutput& to,
           Width width = Width::kAsNeeded) {
    cpu::AttendTask task = tile_task(c, begin, end, to, {&mask_, score_.get(), width}, runs);
    TileScratch scratch;
    scratch.give_to(task);
    c.kernel(table)(task);
  }

  // Row (token, head) in double precision, or that of |V|; returns the lse.
  double expected(int32_t token, int32_t head, std::vector<double>& out, bool absolute = false) {
    const KernelShape& s = c.shape;
    std::vector<double> scores(static_cast<size_t>(s.kv_len), -kInf);
    double largest = -kInf;
    bool any = false;
    for (int32_t key = 0; key < s.kv_len; ++key) {
      if (!sees(token, head, key)) continue;
      any = true;
      scores[static_cast<size_t>(key)] = score(token, head, key);
      largest = std::max(largest, scores[static_cast<size_t>(key)]);
    }
    out.assign(static_cast<size_t>(s.head_dim_v), 0.0);
    if (!any) return -kInf;
    double sum = 0.0;
    for (int32_t key = 0; key < s.kv_len; ++key) {
      if (!sees(token, head, key)) continue;
      const double p = std::exp(scores[static_cast<size_t>(key)] - largest);
      sum += p;
      for (int32_t d = 0; d < s.head_dim_v; ++d) {
        const double x = c.value(key, head / s.group, d);
        out[static_cast<size_t>(d)] += p * (absolute ? std::abs(x) : x);
      }
    }
    for (double& x : out) x /= sum;
    return largest + std::log(sum);
  }

  KernelCase c;

 private:
  double score(int32_t token, int32_t head, int32_t key) {
    const KernelShape& s = c.shape;
    double product = 0.0;
    for (int32_t d = 0; d < s.head_dim; ++d) {
      product += get(s.q_dtype, c.q.data(), c.q_at(token, head) + d) *
                 get(s.kv_dtype, c.k.data(), c.k_at(key, head / s.group) + d);
    }
    product *= c.scale();
    if (score_ == nullptr) return product;
    expr::Point point = point_of(s, token, head, key);
    point.score = product;
    return score_->evaluator().real(point);
  }

  Tables tables_;
  TileCase mask_;
  std::unique_ptr<TileCase> score_;
};

// The largest error over its bound; rows that see a NaN must be NaN.
double worst_ratio(Attention& a, const KernelOutput& got, bool rounds_weights) {
  const KernelShape& s = a.c.shape;
  double worst = 0.0;
  std::vector<double> row;
  std::vector<double> absolute;
  for (int32_t token = 0; token < s.tokens; ++token) {
    for (int32_t head = 0; head < s.heads_q(); ++head) {
      const int64_t state = int64_t{token} * s.heads_q() + head;
      const double lse = a.expected(token, head, row);
      a.expected(token, head, absolute, /*absolute=*/true);
      const double got_lse = got.lse[state];
      if (got_lse != lse && !(std::isnan(lse) && std::isnan(got_lse))) {
        const double error = std::abs(got_lse - lse) / (2e-5 * std::max(1.0, std::abs(lse)));
        worst = std::isnan(error) ? kInf : std::max(worst, error);
      }
      for (size_t d = 0; d < row.size(); ++d) {
        const double x =
            get(s.out_dtype, got.out.data(), state * s.head_dim_v + static_cast<int64_t>(d));
        if (x == row[d] || (std::isnan(x) && std::isnan(row[d]))) continue;
        const double error = std::abs(x - row[d]) / (1e-5 + 2e-5 * absolute[d] +
                                                     (rounds_weights ? 0x1p-8 * absolute[d] : 0.0));
        worst = std::isnan(error) ? kInf : std::max(worst, error);
      }
    }
  }
  return worst;
}

bool same_bits(const Attention& a, const KernelOutput& x, const KernelOutput& y) {
  const auto states = static_cast<size_t>(int64_t{a.c.shape.tokens} * a.c.shape.heads_q());
  return std::memcmp(x.out.data(), y.out.data(),
                     states * static_cast<size_t>(a.c.shape.head_dim_v) * sizeof(float)) == 0 &&
         std::memcmp(x.lse, y.lse, states * sizeof(float)) == 0;
}

KernelShape shape_of(int n) {
  const auto& rows = kRows[n % static_cast<int>(std::size(kRows))];
  KernelShape s;
  s.tokens = rows[0];
  s.group = rows[1];
  s.heads_kv = rows[2];
  s.head_dim = n % 3 == 0 ? 40 : 64;
  s.head_dim_v = n % 4 == 0 ? 48 : 64;
  s.kv_len = n % 2 == 0 ? 300 : 690;
  s.page_size = n % 3 == 0 ? 0 : 16;
  s.window_right = -1;
  s.window_left = n % 5 == 4 ? 200 : -1;
  s.kv_dtype = n % 3 == 2 ? DType::kF32 : DType::kBF16;
  s.q_dtype = n % 3 == 1 ? DType::kBF16 : DType::kF32;
  s.seed = static_cast<uint32_t>(n + 1);
  return s;
}

constexpr int32_t kSteps[] = {1, 16, 100, 128};

void check_all(Attention& a, int n) {
  const KernelShape& s = a.c.shape;
  const int32_t step = kSteps[n % 4];
  const std::vector<expr::MaskRun> runs = a.runs(0, s.tokens, step);
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    const KernelOutput whole = a.c.output();
    a.run(*table, 0, s.tokens, runs, whole);
    CHECK(worst_ratio(a, whole, a.c.rounds_weights(*table)) <= 1.0);

    const KernelOutput unproved = a.c.output();
    a.run(*table, 0, s.tokens, a.runs(0, s.tokens, s.kv_len, /*all=*/true), unproved);
    CHECK(same_bits(a, whole, unproved));

    const KernelOutput apart = a.c.output();
    for (int32_t token = 0; token < s.tokens; ++token) {
      a.run(*table, token, token + 1, a.runs(token, token + 1, kSteps[(n + token) % 4]), apart);
    }
    CHECK(same_bits(a, whole, apart));
  }
}

TEST_CASE("masks and scores against the double-precision loop; bits depend on a row alone") {
  int n = 0;
  for (const char* mask : kMasks) {
    for (const char* score : {static_cast<const char*>(nullptr), kScores[0], kScores[1]}) {
      for (int i = 0; i < 2; ++i, ++n) {
        Attention a(shape_of(n), mask, score);
        CAPTURE(std::string(mask));
        CAPTURE(a.c.shape.text());
        check_all(a, n);
      }
    }
  }
}

TEST_CASE(
    "what is added to a score is added in one pass, with the bits of one step after another") {
  int n = 0;
  for (const char* score : kSums) {
    for (const char* mask : {"true", kMasks[0], kMasks[4]}) {
      for (int i = 0; i < 2; ++i, ++n) {
        Attention a(shape_of(n), mask, score);
        CAPTURE(std::string(score));
        CAPTURE(std::string(mask));
        CAPTURE(a.c.shape.text());
        check_all(a, n);
        const int32_t tokens = a.c.shape.tokens;
        const std::vector<expr::MaskRun> runs = a.runs(0, tokens, kSteps[n % 4]);
        for (const cpu::KernelTable* table : runnable_tables()) {
          CAPTURE(std::string(table->name));
          const KernelOutput once = a.c.output();
          a.run(*table, 0, tokens, runs, once);
          const KernelOutput in_steps = a.c.output();  // as all wide programs run
          a.run(*table, 0, tokens, runs, in_steps, Width::kWide);
          CHECK(same_bits(a, once, in_steps));
        }
      }
    }
  }
}

TEST_CASE("NaN and infinities where a row does not look change nothing") {
  for (int n = 0; n < 6; ++n) {
    for (const char* mask : {kMasks[1], kMasks[3], kMasks[4]}) {
      Attention a(shape_of(n), mask, n % 2 == 0 ? nullptr : kScores[0]);
      CAPTURE(std::string(mask));
      CAPTURE(a.c.shape.text());
      const KernelShape& s = a.c.shape;
      for (int32_t head = 0; head < s.heads_kv; ++head) {
        for (int32_t key = 7; key < s.kv_len; key += 61) {
          a.c.set_v(key, head, key % s.head_dim_v, key % 2 == 0 ? kNaN : kInf);
          if (key % 3 == 0) a.c.set_k(key, head, 5, kNaN);
        }
      }
      check_all(a, n);
    }
  }
}

TEST_CASE("a causal mask as a program has the bits of the built-in one") {
  for (int n = 0; n < 6; ++n) {
    KernelShape s = shape_of(n);
    s.window_left = -1;
    Attention a(s, kMasks[0], nullptr);
    CAPTURE(s.text());
    KernelShape built_in = s;
    built_in.window_right = 0;
    const KernelCase c(built_in);
    for (const cpu::KernelTable* table : runnable_tables()) {
      CAPTURE(std::string(table->name));
      const KernelOutput want = c.run(*table);
      for (const int32_t step : kSteps) {
        const KernelOutput got = a.c.output();
        a.run(*table, 0, s.tokens, a.runs(0, s.tokens, step), got);
        CHECK(same_bits(a, want, got));
      }
    }
  }
}

// Every state of every split, of tasks whose runs leave some splits out.
TEST_CASE("splits without a key are neutral where the caller merges") {
  KernelShape s = shape_of(1);
  s.kv_len = 3 * kSplitKeys;
  s.tokens = 3;
  s.window_left = -1;
  Attention a(s, "true", nullptr);
  const expr::MaskRun runs[] = {{10, 20, 0}, {2 * kSplitKeys + 5, 2 * kSplitKeys + 200, 0}};
  const int64_t rows = int64_t{s.tokens} * s.heads_q();
  for (const cpu::KernelTable* table : runnable_tables()) {
    CAPTURE(std::string(table->name));
    PartialBuffer states(3, rows, s.head_dim_v);
    const cpu::PartialTarget target = states.target();
    const KernelOutput to = a.c.output();
    const TileCase any(parsed("true"), {}, /*is_mask=*/true);
    cpu::AttendTask task = tile_task(a.c, 0, s.tokens, to, {&any}, runs);
    task.partial = &target;
    TileScratch scratch;
    scratch.give_to(task);
    a.c.kernel (*table)(task);
    for (int64_t row = 0; row < rows; ++row) {
      CHECK(states.sum[static_cast<size_t>(row)] > 0.0f);
      CHECK(states.sum[static_cast<size_t>(rows + row)] == 0.0f);
      CHECK(states.ref[static_cast<size_t>(rows + row)] == -std::numeric_limits<float>::infinity());
      CHECK(states.sum[static_cast<size_t>(2 * rows + row)] > 0.0f);
    }
  }
}

}  // namespace
}  // namespace attnrt::test
