// SPDX-License-Identifier: Apache-2.0
// A query row has the same bits however its sequence's queries are cut into calls: random cuts,
// each call in a batch, layout, placement and thread count of its own, against one whole call.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "tests/support/build.hpp"
#include "tests/support/check.hpp"
#include "tests/support/partials.hpp"
#include "tests/support/programs.hpp"

namespace attnrt {
namespace {

using test::Output;
using test::Problem;
using test::ProblemShape;
using test::SequenceShape;

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {}
  int32_t below(int32_t n) {
    return static_cast<int32_t>(random_() % static_cast<uint64_t>(std::max(n, 1)));
  }
  int32_t between(int32_t low, int32_t high) { return low + below(high - low + 1); }
  bool one_in(int32_t n) { return below(n) == 0; }
  template <class T, size_t kCount>
  T of(const T (&list)[kCount]) {
    return list[below(static_cast<int32_t>(kCount))];
  }
  uint64_t seed() { return random_(); }

 private:
  std::mt19937_64 random_;
};

struct DTypes {
  DType q, kv;
};
constexpr DTypes kDTypes[] = {{DType::kBF16, DType::kBF16}, {DType::kF32, DType::kF32},
                              {DType::kF32, DType::kBF16},  {DType::kF16, DType::kF16},
                              {DType::kF16, DType::kBF16},  {DType::kBF16, DType::kF32}};

// Lengths whose rows and keys end on and around tiles, blocks of 128 keys and splits of 512.
SequenceShape sequence(Draw& draw, int32_t group) {
  SequenceShape s;
  s.kv_len = draw.one_in(3) ? draw.between(1, 140) : draw.between(400, 1200);
  s.q_len = std::min(s.kv_len, draw.between(1, draw.one_in(3) ? 300 / group : 60 / group + 2));
  return s;
}

// Masks and scores that do not ask for the batch or for lengths of queries, which are other in
// every chunk.
constexpr const char* kMasks[] = {"(q + kv) % 3 != 0", "kv % 5 != h",
                                  "q // 50 == kv // 50 || kv < 9", "kv < q - 3 || q == kv",
                                  "kv > 70 && q % 4 != 1"};
constexpr const char* kScores[] = {"score + 0.0625 * (kv - q)",
                                   "3.0 * tanh(score) + 0.125 * (h + 1)",
                                   "select(kv % 2 == 0, score, exp(-score * score))"};

void draw_programs(Draw& draw, AttentionSpec& spec) {
  if (draw.one_in(3)) spec.mask = test::mask_of(draw.of(kMasks));
  if (draw.one_in(4)) spec.score = test::score_of(draw.of(kScores));
}

ProblemShape random_shape(Draw& draw, const DTypes& dtypes) {
  ProblemShape shape;
  AttentionSpec& spec = shape.spec;
  const int32_t group = draw.of({1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16});
  spec.num_heads_kv = draw.between(1, group > 4 ? 1 : 3);
  spec.num_heads_q = group * spec.num_heads_kv;
  spec.head_dim = draw.of({16, 24, 33, 40, 64, 80, 128});
  spec.head_dim_v = draw.one_in(2) ? 0 : draw.of({7, 16, 48, 64, 96});
  spec.causal = draw.one_in(2);
  if (draw.one_in(3)) spec.window_left = draw.of({0, 1, 15, 16, 100, 127, 128, 500, 700});
  if (!spec.causal && draw.one_in(2)) spec.window_right = draw.of({0, 1, 15, 33, 130});
  if (draw.one_in(4)) spec.softcap = 2.5f;
  spec.has_alibi = draw.one_in(4);
  spec.has_sinks = draw.one_in(4);
  if (draw.one_in(5)) spec.softmax_scale = draw.of({-0.2f, 3.0f, 0.0f});
  draw_programs(draw, spec);
  if (draw.one_in(6)) spec.num_branches = draw.between(2, 3);
  shape.rotary = draw.one_in(6) ? test::Rotary::kHalves : test::Rotary::kNone;
  shape.q_dtype = dtypes.q;
  shape.kv_dtype = dtypes.kv;
  shape.out_dtype = draw.of({DType::kF32, DType::kBF16});
  shape.seed = draw.seed();
  const int32_t count = draw.between(1, 3);
  for (int32_t id = 0; id < count; ++id) {
    shape.sequences.push_back(sequence(draw, group));
    shape.sequences.back().id = id;
  }
  return shape;
}

// Where K and V lie, which is different for every call.
void place(Draw& draw, ProblemShape& shape) {
  shape.layout = draw.of({KvLayout::kPacked, KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked16,
                          KvLayout::kPacked16});
  const bool packed16 = shape.layout == KvLayout::kPacked16;
  shape.page_size = packed16 ? draw.of({16, 48, 64, 256}) : draw.of({1, 7, 16, 100, 256});
  shape.page_seed = draw.seed();
  shape.padded = draw.one_in(2);
  shape.csr = shape.layout != KvLayout::kPacked && draw.one_in(3);
  for (SequenceShape& s : shape.sequences) {
    s.leftpad = draw.one_in(2) ? 0 : (packed16 ? 16 * draw.between(1, 5) : draw.between(1, 40));
    s.spare = draw.one_in(2) ? 0 : draw.between(1, 40);
  }
}

// Tokens [begin, end) of sequence `id` of the whole.
struct Piece {
  int32_t id, begin, end;
};

// Every token once; pieces of one token, of any size, of a few.
std::vector<Piece> cut(Draw& draw, const ProblemShape& whole) {
  std::vector<Piece> pieces;
  for (const SequenceShape& s : whole.sequences) {
    const int32_t most = draw.of({1, 3, 9, 17, 40, 300});
    for (int32_t begin = 0; begin < s.q_len;) {
      const int32_t end = std::min(s.q_len, begin + draw.between(1, most));
      pieces.push_back({s.id, begin, end});
      begin = end;
    }
  }
  for (size_t i = pieces.size(); i > 1; --i) {
    std::swap(pieces[i - 1], pieces[static_cast<size_t>(draw.below(static_cast<int32_t>(i)))]);
  }
  return pieces;
}

// As the step that computes these tokens sees the sequence: causal ones may have no later keys yet.
SequenceShape sequence_of(Draw& draw, const ProblemShape& whole, const Piece& piece) {
  SequenceShape s = whole.sequences[static_cast<size_t>(piece.id)];
  const int32_t start = s.kv_len - s.q_len;
  s.q_start = start + piece.begin;
  s.q_len = piece.end - piece.begin;
  s.first_token = piece.begin;
  if (whole.spec.causal && !draw.one_in(4)) s.kv_len = start + piece.end;
  return s;
}

// Special values at fixed places of a sequence, in every problem that has them.
struct Spoil {
  bool v;
  int32_t id, key, kv_head, d;
  double value;
};

std::vector<Spoil> random_spoils(Draw& draw, const ProblemShape& whole) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  std::vector<Spoil> spoils;
  if (!draw.one_in(3)) return spoils;
  const AttentionSpec& spec = whole.spec;
  const int32_t dim_v = spec.head_dim_v != 0 ? spec.head_dim_v : spec.head_dim;
  for (int32_t i = draw.between(1, 4); i > 0; --i) {
    const int32_t id = draw.below(static_cast<int32_t>(whole.sequences.size()));
    const SequenceShape& s = whole.sequences[static_cast<size_t>(id)];
    const bool v = !draw.one_in(3);
    // Near the diagonal, so that some rows of a tile see it and others do not.
    const int32_t key = std::max(0, s.kv_len - 1 - draw.below(s.q_len + 20));
    spoils.push_back({v, id, key, draw.below(spec.num_heads_kv),
                      draw.below(v ? dim_v : spec.head_dim),
                      draw.of({kNan, kInfinity, -kInfinity, 1e30, 0x1p-130})});
  }
  return spoils;
}

void apply(const std::vector<Spoil>& spoils, Problem& problem) {
  for (const Spoil& spoil : spoils) {
    for (size_t seq = 0; seq < problem.shape().sequences.size(); ++seq) {
      const SequenceShape& s = problem.shape().sequences[seq];
      const int32_t key = spoil.key - s.first_key;
      if (s.id != spoil.id || key < 0 || key >= s.kv_len) continue;
      if (spoil.v) {
        problem.set_v(seq, key, spoil.kv_head, spoil.d, spoil.value);
      } else {
        problem.set_k(seq, key, spoil.kv_head, spoil.d, spoil.value);
      }
    }
  }
}

test::Partials partials_of(Context& context, const Problem& problem) {
  Plan plan;
  REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
  test::Partials partials(problem, plan.num_splits());
  Output unused = problem.make_output();
  AttendArgs args = problem.args(unused);
  args.partial = partials.view;
  REQUIRE(attend(context, plan, args).ok());
  return partials;
}

// The same call with its keys on two hosts, cut at a split boundary, and the states folded.
Output sharded(Draw& draw, Context& context, const ProblemShape& shape,
               const std::vector<Spoil>& spoils) {
  const int32_t cut = kSplitKeys * draw.between(0, 2);
  ProblemShape low = shape;
  ProblemShape high = shape;
  for (size_t i = 0; i < shape.sequences.size(); ++i) {
    const SequenceShape& s = shape.sequences[i];
    low.sequences[i].kv_len = std::min(s.kv_len, cut);
    high.sequences[i].kv_len = std::max(0, s.kv_len - cut);
    high.sequences[i].q_start = *s.q_start - cut;
    high.sequences[i].first_key = cut;
  }
  Problem low_problem(low);
  Problem high_problem(high);
  apply(spoils, low_problem);
  apply(spoils, high_problem);
  const test::Partials first = partials_of(context, low_problem);
  const test::Partials second = partials_of(context, high_problem);
  const std::vector<PartialView> views{first.view, second.view};
  Output output = low_problem.make_output();
  REQUIRE(merge_states(context, views, output.view, output.lse_view, low_problem.sinks).ok());
  return output;
}

Output run_pieces(Draw& draw, Context& context, const ProblemShape& shape,
                  const std::vector<Spoil>& spoils) {
  // A shard's rows are rotated, and its expressions evaluated, by positions within it; branches
  // have no states to hand out.
  const bool whole = shape.rotary != test::Rotary::kNone || shape.spec.mask.valid() ||
                     shape.spec.score.valid() || shape.spec.num_branches > 1;
  if (!whole && draw.one_in(4)) {
    return sharded(draw, context, shape, spoils);
  }
  Problem problem(shape);
  apply(spoils, problem);
  Output output = problem.make_output();
  REQUIRE(test::run(context, problem, output) == "ok");
  return output;
}

// Empty, or the first call whose rows are not those of the whole.
std::string check_cuts(Draw& draw, Context (&contexts)[2], const ProblemShape& whole) {
  const std::vector<Spoil> spoils = random_spoils(draw, whole);
  Problem problem(whole);
  apply(spoils, problem);
  Output want = problem.make_output();
  REQUIRE(test::run(contexts[0], problem, want) == "ok");

  std::vector<Piece> pieces = cut(draw, whole);
  while (!pieces.empty()) {
    const int32_t left = static_cast<int32_t>(pieces.size());
    const int32_t count = std::min(left, draw.one_in(2) ? 1 : draw.between(2, 4));
    ProblemShape call = whole;
    call.sequences.clear();
    for (int32_t i = 0; i < count; ++i) {
      call.sequences.push_back(
          sequence_of(draw, whole, pieces[pieces.size() - 1 - static_cast<size_t>(i)]));
    }
    place(draw, call);
    const Output got = run_pieces(draw, contexts[draw.below(2)], call, spoils);
    int32_t row = 0;
    for (int32_t i = 0; i < count; ++i) {
      const Piece piece = pieces.back();
      pieces.pop_back();
      const int32_t at = problem.first_row(static_cast<size_t>(piece.id)) + piece.begin;
      const int32_t rows = piece.end - piece.begin;
      const std::string wrong = test::check_same_bits({got, row}, {want, at}, rows);
      if (!wrong.empty()) {
        return wrong + " of tokens [" + std::to_string(piece.begin) + ", " +
               std::to_string(piece.end) + ") of sequence " + std::to_string(piece.id) + "\n  " +
               test::describe(whole) + "\n  computed as " + test::describe(call);
      }
      row += rows;
    }
  }
  return {};
}

}  // namespace

TEST_SUITE("determinism") {
  TEST_CASE("queries cut into calls at random") {
    constexpr int kCases = test::kSlowBuild ? 20 : 100;
    for (const std::string& isa : test::usable_isas()) {
      Context contexts[2] = {test::cpu_context(isa, 1), test::cpu_context(isa, 2)};
      for (int i = 0; i < kCases; ++i) {
        Draw draw(static_cast<uint64_t>(i) + 1);
        const ProblemShape whole = random_shape(draw, kDTypes[i % std::ssize(kDTypes)]);
        const std::string wrong = check_cuts(draw, contexts, whole);
        CHECK_MESSAGE(wrong.empty(), isa, ", case ", i, ": ", wrong);
        if (!wrong.empty()) break;
      }
    }
  }

  // Every number of rows, so every tile height at every place, against one row at a time.
  TEST_CASE("every number of rows beside a row") {
    for (const std::string& isa : test::usable_isas()) {
      Context context = test::cpu_context(isa, 1);
      for (const DTypes& dtypes : kDTypes) {
        ProblemShape shape;
        shape.spec.num_heads_q = shape.spec.num_heads_kv = 1;
        shape.spec.head_dim = 40;
        shape.spec.causal = true;
        shape.q_dtype = dtypes.q;
        shape.kv_dtype = dtypes.kv;
        shape.layout = KvLayout::kPacked16;
        constexpr int32_t kRows = 70;
        const auto rows_of = [&](int32_t begin, int32_t end) {
          ProblemShape rows = shape;
          rows.sequences = {{end - begin, 130 + end}};
          rows.sequences[0].first_token = begin;
          const Problem problem(rows);
          Output output = problem.make_output();
          REQUIRE(test::run(context, problem, output) == "ok");
          return output;
        };
        const Output all = rows_of(0, kRows);
        for (int32_t count = 1; count < kRows; ++count) {
          const std::string wrong = test::check_same_bits({rows_of(0, count)}, {all}, count);
          CHECK_MESSAGE(wrong.empty(), isa, ", ", count, " rows: ", wrong);
          if (!wrong.empty()) break;
        }
        for (int32_t row = 0; row < kRows; ++row) {
          const std::string wrong = test::check_same_bits({rows_of(row, row + 1)}, {all, row}, 1);
          CHECK_MESSAGE(wrong.empty(), isa, ", row ", row, " alone: ", wrong);
          if (!wrong.empty()) break;
        }
      }
    }
  }
}

}  // namespace attnrt
