// SPDX-License-Identifier: Apache-2.0
#include "tests/backends/conformance.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "tests/support/build.hpp"
#include "tests/support/check.hpp"
#include "tests/support/pair_sampler.hpp"

namespace attnrt::test {
namespace {

constexpr std::array kDTypes = {DType::kF32, DType::kBF16, DType::kF16};
constexpr std::array kLayouts = {KvLayout::kPacked, KvLayout::kNHD, KvLayout::kHND,
                                 KvLayout::kPacked16};
constexpr std::array kPageSizes = {1, 7, 16, 17, 64, 256, 1000};
constexpr std::array kGroups = {1, 2, 3, 4, 5, 6, 7, 8, 12, 16};

struct Dims {
  int32_t qk, v;
  bool mla;
};
constexpr std::array kDims = {Dims{1, 1, false},     Dims{40, 40, false},   Dims{59, 59, false},
                              Dims{64, 64, false},   Dims{80, 80, false},   Dims{96, 96, false},
                              Dims{111, 111, false}, Dims{128, 128, false}, Dims{192, 128, false},
                              Dims{256, 256, false}, Dims{576, 512, true},  Dims{48, 80, false},
                              Dims{33, 7, false},    Dims{72, 64, true}};

// Query lengths: fixed ones, then lengths that depend on the keys.
constexpr std::array kQueryLengths = {1, 2, 3, 4, 5, 7, 8, 11, 16};
enum QueryKind { kPrefill = kQueryLengths.size(), kChunk, kMoreThanKeys, kMixed, kQueryKinds };

// Key lengths: a few, more than a block of 64, more than a split of 512.
enum Span { kShort, kBlocks, kSplits, kSpans };

enum Variant {
  kPlain,
  kCausal,
  kWindowLeft,
  kWindowRight,
  kWindowBoth,
  kCausalWindow,
  kSoftcap,
  kSoftcapCausal,
  kAlibi,
  kAlibiPerSeqCausal,
  kSinks,
  kSinksCausalWindow,
  kNegativeScale,
  kZeroScale,
  kQStartCausal,
  kQStartWindow,
  kLeftpad,
  kSpareSlots,
  kRotaryHalvesCausal,
  kRotaryInterleavedWindow,
  kRotaryConstant,
  kMask,
  kMaskOfHeadCausal,
  kScore,
  kScoreMaskWindow,
  kPointwise,
  kEpilogue,
  kBranches,
  kEverything,
  kVariants
};

enum LseHabit { kLseNatural, kLseBaseTwo, kLseTokensFirst, kLseNone, kLseHabits };

enum Factor {
  kLayoutFactor,
  kPageSizeFactor,
  kGroupFactor,
  kDimsFactor,
  kQueryFactor,
  kSpanFactor,
  kVariantFactor,
  kQDTypeFactor,
  kOutDTypeFactor,
  kCsrFactor,
  kPaddedFactor,
  kLseFactor
};

std::vector<int> factor_levels() {
  return {static_cast<int>(kLayouts.size()),
          static_cast<int>(kPageSizes.size()),
          static_cast<int>(kGroups.size()),
          static_cast<int>(kDims.size()),
          kQueryKinds,
          kSpans,
          kVariants,
          static_cast<int>(kDTypes.size()),
          static_cast<int>(kDTypes.size()),
          2,
          2,
          kLseHabits};
}

constexpr std::array kMasks = {"(q + kv) % 3 != 0", "kv < 5 || q - kv < 20 && kv <= q",
                               "q // 16 == kv // 16", "kv < q - 2", "q % 4 != 1 && kv != 7 * b"};
constexpr std::array kHeadMasks = {"kv % 5 != h", "abs(q - kv) < 9 * (h + 1)",
                                   "hkv == 0 || kv < 40"};
constexpr std::array kScores = {"score + 0.0625 * (kv - q)", "3.0 * tanh(score) + 0.125 * (h + 1)",
                                "select(kv % 2 == 0, score, -abs(score))",
                                "score * log1p(to_float(kv_len))"};

// Multiply-adds of one problem's reference. Keeps the suite within its minute; problems that would
// cost more get fewer keys.
constexpr int64_t kBudget = 500'000;

class ShapeMaker {
 public:
  ShapeMaker(const std::vector<int>& point, DType kv_dtype, uint64_t seed)
      : point_(point), random_(seed) {
    shape_.seed = shape_.page_seed = seed;
    shape_.kv_dtype = kv_dtype;
  }

  ProblemShape make() {
    const Dims dims = kDims[index(kDimsFactor)];
    shape_.layout = kLayouts[index(kLayoutFactor)];
    shape_.page_size = kPageSizes[index(kPageSizeFactor)];
    shape_.csr = level(kCsrFactor) == 1 && shape_.layout != KvLayout::kPacked;
    shape_.padded = level(kPaddedFactor) == 1;
    shape_.mla = dims.mla && !packed16();
    if (packed16()) shape_.page_size = round_up(shape_.page_size);
    shape_.q_dtype = kDTypes[index(kQDTypeFactor)];
    shape_.out_dtype = kDTypes[index(kOutDTypeFactor)];
    AttentionSpec& spec = shape_.spec;
    spec.head_dim = dims.qk;
    spec.head_dim_v = dims.v == dims.qk && below(2) == 0 ? 0 : dims.v;
    const int32_t group = kGroups[index(kGroupFactor)];
    spec.num_heads_kv = dims.mla || group > 4 ? 1 : 1 + below(3);
    spec.num_heads_q = group * spec.num_heads_kv;
    cost_per_pair_ = int64_t{spec.num_heads_q} * (dims.qk + dims.v);
    add_sequences();
    apply_variant();
    return shape_;
  }

 private:
  [[nodiscard]] int level(Factor f) const { return point_[static_cast<size_t>(f)]; }
  [[nodiscard]] size_t index(Factor f) const { return static_cast<size_t>(level(f)); }
  int32_t below(int32_t n) {
    return static_cast<int32_t>(random_() % static_cast<uint64_t>(std::max(n, 1)));
  }
  int32_t between(int32_t low, int32_t high) { return low + below(high - low + 1); }

  [[nodiscard]] bool packed16() const { return shape_.layout == KvLayout::kPacked16; }
  static int32_t round_up(int32_t keys) { return (keys + 15) / 16 * 16; }

  int32_t key_count() {
    const int span = level(kSpanFactor);
    if (span == kBlocks) return between(41, 300);
    return span == kSplits ? between(500, 1700) : between(1, 40);
  }

  SequenceShape sequence(int32_t keys) {
    SequenceShape s;
    s.kv_len = keys;
    const int kind = level(kQueryFactor);
    // Square problems shrink with the root of the budget.
    while (kind >= kPrefill && int64_t{s.kv_len} * s.kv_len * cost_per_pair_ > kBudget &&
           s.kv_len > 2) {
      s.kv_len = s.kv_len * 3 / 4;
    }
    switch (kind) {
      case kPrefill:
        s.q_len = s.kv_len;
        break;
      case kChunk:
        s.q_len = between(1, s.kv_len);
        break;
      case kMoreThanKeys:
        s.q_len = s.kv_len + between(1, 9);
        break;
      case kMixed:
        s.q_len = below(3) == 0 ? std::min(s.kv_len, between(2, 40)) : below(3);
        break;
      default:
        s.q_len = kQueryLengths[static_cast<size_t>(kind)];
    }
    const int64_t row_cost = cost_per_pair_ * std::max(s.q_len, 1);
    const int64_t affordable = std::max<int64_t>(1, 2 * kBudget / row_cost);
    if (kind < kPrefill) s.kv_len = static_cast<int32_t>(std::min<int64_t>(keys, affordable));
    return s;
  }

  // The first sequence has the length that was asked for; others fill the budget.
  void add_sequences() {
    int64_t cost = 0;
    const int32_t most = between(1, 5);
    for (int32_t b = 0; b < most && (b == 0 || cost < kBudget / 2); ++b) {
      SequenceShape s = sequence(b == 0 ? key_count() : between(1, 80));
      if (b > 0 && below(6) == 0) s.q_len = 0;
      if (b > 0 && below(6) == 0) s.kv_len = 0;
      cost += cost_per_pair_ * s.q_len * s.kv_len;
      shape_.sequences.push_back(s);
    }
    std::shuffle(shape_.sequences.begin(), shape_.sequences.end(), random_);
  }

  int32_t window() {
    const std::array sizes = {0, 1, between(2, 30), between(31, 200), between(201, 1500)};
    return sizes[static_cast<size_t>(below(static_cast<int32_t>(sizes.size())))];
  }

  void move_q_start() {
    for (SequenceShape& s : shape_.sequences) s.q_start = between(-20, s.kv_len + 20);
  }

  void pad_left() {
    for (SequenceShape& s : shape_.sequences) {
      s.leftpad = below(3) == 0 ? 0 : between(1, 40);
      if (packed16()) s.leftpad = round_up(s.leftpad);
    }
  }

  void add_spare_slots() {
    for (SequenceShape& s : shape_.sequences) s.spare = below(3) == 0 ? 0 : between(1, 40);
  }

  void rotate(Rotary rotary, bool constant) {
    if (shape_.spec.head_dim < 2) return;
    shape_.rotary = rotary;
    shape_.rotary_constant = constant;
    for (SequenceShape& s : shape_.sequences) s.q_start = std::max(0, s.kv_len - s.q_len);
  }

  void apply_variant() {
    AttentionSpec& spec = shape_.spec;
    const auto variant = static_cast<Variant>(level(kVariantFactor));
    spec.causal = variant == kCausal || variant == kCausalWindow || variant == kSoftcapCausal ||
                  variant == kAlibiPerSeqCausal || variant == kSinksCausalWindow ||
                  variant == kQStartCausal || variant == kRotaryHalvesCausal ||
                  variant == kMaskOfHeadCausal || variant == kEverything;
    if (variant == kWindowLeft || variant == kWindowBoth || variant == kCausalWindow ||
        variant == kSinksCausalWindow || variant == kQStartWindow ||
        variant == kRotaryInterleavedWindow || variant == kScoreMaskWindow ||
        variant == kEverything) {
      spec.window_left = window();
    }
    if (variant == kWindowRight || variant == kWindowBoth || variant == kQStartWindow) {
      spec.window_right = window();
    }
    if (variant == kSoftcap || variant == kSoftcapCausal || variant == kEverything) {
      spec.softcap = below(2) == 0 ? 1.5f : 30.0f;
    }
    spec.has_alibi = variant == kAlibi || variant == kAlibiPerSeqCausal || variant == kEverything;
    shape_.alibi_per_seq = variant == kAlibiPerSeqCausal;
    spec.has_sinks = variant == kSinks || variant == kSinksCausalWindow || variant == kEverything;
    if (variant == kNegativeScale) spec.softmax_scale = -0.11f;
    if (variant == kZeroScale) spec.softmax_scale = 0.0f;
    if (variant == kQStartCausal || variant == kQStartWindow) move_q_start();
    if (variant == kLeftpad || variant == kEverything) pad_left();
    if (variant == kSpareSlots || variant == kEverything) add_spare_slots();
    if (variant == kRotaryHalvesCausal) rotate(Rotary::kHalves, false);
    if (variant == kRotaryInterleavedWindow) rotate(Rotary::kInterleaved, false);
    if (variant == kRotaryConstant) rotate(Rotary::kHalves, true);
    add_programs(variant);
  }

  template <size_t kCount>
  expr::Expr one_of(const std::array<const char*, kCount>& texts) {
    expr::Expr expression;
    REQUIRE(expr::parse(texts[static_cast<size_t>(below(kCount))], expression).ok());
    return expression;
  }

  void add_programs(Variant variant) {
    AttentionSpec& spec = shape_.spec;
    const bool by_head = variant == kMaskOfHeadCausal || variant == kScoreMaskWindow ||
                         (variant == kBranches && below(2) == 0);
    if (variant == kMask || by_head) {
      REQUIRE(expr::compile_mask(by_head ? one_of(kHeadMasks) : one_of(kMasks), spec.mask).ok());
    }
    if (variant == kScore || variant == kScoreMaskWindow) {
      REQUIRE(expr::compile_score(one_of(kScores), spec.score).ok());
    }
    if (variant == kPointwise) {
      spec.normalizer = Normalizer::kPointwise;
      REQUIRE(expr::compile_score(expr::sigmoid(expr::score()), spec.score).ok());
    }
    shape_.gate = shape_.residual = shape_.row_max = variant == kEpilogue;
    if (variant == kEpilogue) shape_.epilogue_scale = 0.7f;
    if (variant != kBranches) return;
    spec.num_branches = between(2, 3);
    spec.has_sinks = below(2) == 0;
    shape_.gate = below(2) == 0;
  }

  const std::vector<int>& point_;
  std::mt19937_64 random_;
  ProblemShape shape_;
  int64_t cost_per_pair_ = 0;
};

LseView lse_options(int level) {
  LseView view;
  if (level == kLseBaseTwo) view.base = LseBase::kTwo;
  if (level == kLseTokensFirst) {
    view.order = LseOrder::kTokensFirst;
    view.empty = LseEmpty::kPlusInf;
  }
  return view;
}

// Empty, or what is wrong.
std::string check_case(Context& context, const Problem& problem, const Expected& expected,
                       int lse_level) {
  Output output = problem.make_output(lse_options(lse_level));
  Plan plan;
  Status status = make_plan(problem.spec(), problem.batch(), plan);
  if (!status.ok()) return "make_plan: " + status.message();
  AttendArgs args = problem.args(output);
  if (lse_level == kLseNone) args.lse.data = nullptr;
  status = attend(context, plan, args);
  if (!status.ok()) return "attend: " + status.message();
  const reference::Weights weights = weights_of(context, problem);
  if (lse_level == kLseNone) return check_out(problem, expected, output, weights);
  return check_close(problem, expected, output, weights);
}

// What a backend that runs the options only is asked for.
void drop_programs(ProblemShape& shape) {
  shape.spec.mask = {};
  shape.spec.score = {};
  shape.spec.normalizer = Normalizer::kSoftmax;
  shape.spec.num_branches = 1;
  shape.gate = shape.residual = shape.row_max = false;
  shape.epilogue_scale = 1.0f;
}

bool runs_programs(const NamedContext& named) { return named.context.backend() != "cuda"; }

}  // namespace

int conformance_problems() { return kSlowBuild ? 700 : 1900; }

int check_conformance(std::span<NamedContext> contexts, DType kv_dtype, int count, uint64_t seed) {
  constexpr int kEnoughFailures = 5;
  PairSampler sampler(factor_levels(), seed);
  int cases = 0;
  int failures = 0;
  for (int i = 0; i < count && failures < kEnoughFailures; ++i) {
    const std::vector<int> point = sampler.next();
    const uint64_t problem_seed = seed * 100'000 + static_cast<uint64_t>(i);
    ProblemShape shape = ShapeMaker(point, kv_dtype, problem_seed).make();
    if (!std::ranges::all_of(contexts, runs_programs)) drop_programs(shape);
    const Problem problem(shape);
    const Expected expected = expect(problem);
    for (NamedContext& named : contexts) {
      const std::string wrong = check_case(named.context, problem, expected, point[kLseFactor]);
      CHECK_MESSAGE(wrong.empty(), named.name, ": ", wrong, "\n  problem ", i, ": ",
                    describe(problem.shape()));
      if (!wrong.empty()) ++failures;
      ++cases;
    }
  }
  if (failures == 0) CHECK_MESSAGE(sampler.missing() == 0, "pairs of levels that no problem met");
  return cases;
}

int check_conformance(const ConformanceRunner& runner, DType kv_dtype, int count, uint64_t seed) {
  constexpr int kEnoughFailures = 5;
  PairSampler sampler(factor_levels(), seed);
  int failures = 0;
  int i = 0;
  for (; i < count && failures < kEnoughFailures; ++i) {
    const std::vector<int> point = sampler.next();
    const uint64_t problem_seed = seed * 100'000 + static_cast<uint64_t>(i);
    ProblemShape shape = ShapeMaker(point, kv_dtype, problem_seed).make();
    drop_programs(shape);
    runner.adapt(shape);
    const Problem problem(shape);
    const bool with_lse = point[kLseFactor] != kLseNone;
    Output output = problem.make_output(lse_options(point[kLseFactor]));
    std::string wrong = runner.run(problem, output, with_lse ? output.lse_view : LseView{});
    if (wrong.empty()) {
      const Expected expected = expect(runner.expected_of ? runner.expected_of(problem) : problem);
      wrong = with_lse ? check_close(problem, expected, output, runner.weights)
                       : check_out(problem, expected, output, runner.weights);
    }
    CHECK_MESSAGE(wrong.empty(), runner.name, ": ", wrong, "\n  problem ", i, ": ",
                  describe(problem.shape()));
    if (!wrong.empty()) ++failures;
  }
  return i;
}

}  // namespace attnrt::test
