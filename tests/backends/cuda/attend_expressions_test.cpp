// SPDX-License-Identifier: Apache-2.0
// Masks and scores in the attention kernels, emulated, as they are printed for a GPU: over the
// catalogues, against the reference.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/backends/cuda/generated/cases.hpp"
#include "tests/backends/cuda/generated/compiled.hpp"
#include "tests/support/build.hpp"
#include "tests/support/check.hpp"
#include "tests/support/mask_problem.hpp"
#include "tests/support/partials.hpp"

namespace attnrt::test {
namespace {

SimtAttend with_printed() {
  SimtAttend options;
  options.find = find_compiled;
  return options;
}

std::string finding(const Problem& problem, const SimtAttend& options = with_printed()) {
  Output output = problem.make_output();
  const std::string wrong = simt_attend(problem, output, options);
  if (!wrong.empty()) return wrong;
  return check_close(problem, expect(problem), output, reference::Weights::kBFloat16);
}

expr::MaskProgram compiled_mask(const expr::Expr& expression) {
  expr::MaskProgram program;
  REQUIRE(expr::compile_mask(expression, program).message() == "");
  return program;
}

expr::ScoreProgram compiled_score(const expr::Expr& expression) {
  expr::ScoreProgram program;
  REQUIRE(expr::compile_score(expression, program).message() == "");
  return program;
}

ProblemShape base_shape(int32_t heads_q, int32_t heads_kv) {
  ProblemShape shape;
  shape.spec.num_heads_q = heads_q;
  shape.spec.num_heads_kv = heads_kv;
  shape.spec.head_dim = 16;
  shape.q_dtype = shape.kv_dtype = DType::kBF16;
  shape.page_size = 7;
  return shape;
}

// The last query tokens of a mask, with its sequence at its index of the batch.
ProblemShape shape_of(const testing::MaskCase& mask, int32_t q_len, int32_t group) {
  ProblemShape shape = base_shape(group * mask.num_heads, mask.num_heads);
  shape.spec.mask = compiled_mask(parsed(mask.text));
  put_sequence(mask, q_len, shape);
  return shape;
}

void check_masks(int32_t q_len, int32_t group, KvLayout layout) {
  int number = 0;
  for (const testing::MaskCase& mask : testing::mask_catalogue(kGeneratedTokens)) {
    if (kSlowBuild && ++number % 8 != 0) continue;
    CAPTURE(mask.name);
    ProblemShape shape = shape_of(mask, q_len, group);
    shape.layout = layout;
    CHECK(finding(Problem(shape)) == "");
  }
}

// Long enough for several splits, of which some rows see nothing; a mask that depends on the head.
ProblemShape long_shape() {
  static const std::vector<int32_t> doc = [] {
    std::vector<int32_t> made(2600);
    for (size_t i = 0; i < made.size(); ++i) made[i] = i < 700 || i > 2000 ? 1 : 2;
    return made;
  }();
  static const std::vector<float> slopes = {0.003f, 0.002f, 0.001f, 0.0f};
  ProblemShape shape = base_shape(4, 2);
  const auto [mask, score] = generated_pairs().front();
  shape.spec.mask = compiled_mask(mask);
  shape.spec.score = compiled_score(score);
  shape.mask_values = {
      expr::buffer_value("doc", expr::ElementType::kI32, doc.data(), {int64_t{2600}})};
  shape.score_values = {
      expr::buffer_value("slopes", expr::ElementType::kF32, slopes.data(), {int64_t{4}})};
  shape.sequences = {{.q_len = 1, .kv_len = 2600},
                     {.q_len = 5, .kv_len = 2100},
                     {.q_len = 40, .kv_len = 700},
                     {.q_len = 2, .kv_len = 0}};
  return shape;
}

ProblemShape heads_shape() {
  ProblemShape shape = base_shape(8, 2);
  const auto [mask, score] = generated_pairs()[1];
  shape.spec.mask = compiled_mask(mask);
  shape.spec.score = compiled_score(score);
  shape.score_values = {expr::float_value("cap", 1.5f)};
  shape.spec.window_left = 900;
  shape.spec.softcap = 5.0f;
  shape.spec.has_alibi = shape.spec.has_sinks = true;
  shape.sequences = {{.q_len = 1, .kv_len = 1500}, {.q_len = 30, .kv_len = 90}};
  return shape;
}

// The plan with at most so many items for each tile, as those of large batches are: the first one
// has most of the splits.
PlanData in_items(const PlanData& plan, int32_t items) {
  PlanData made = plan;
  made.items.clear();
  for (size_t t = 0; t < made.tiles.size(); ++t) {
    PlanTile& tile = made.tiles[t];
    tile.num_items = std::min(items, tile.num_items);
    int32_t split = tile.first_split;
    const int32_t end = split + tile.num_splits;
    for (int32_t i = 0; i < tile.num_items; ++i) {
      const int32_t next = end - (tile.num_items - 1 - i);
      made.items.push_back({static_cast<int32_t>(t), split, next, 0, 0});
      split = next;
    }
  }
  return made;
}

Output result_of(const ProblemShape& shape) {
  const Problem problem(shape);
  Output output = problem.make_output();
  CHECK(simt_attend(problem, output, with_printed()) == "");
  return output;
}

}  // namespace

TEST_SUITE("CUDA attention kernels with expressions, emulated") {
  TEST_CASE("masks of the catalogue: one token, pages, groups of 4") {
    check_masks(1, 4, KvLayout::kNHD);
  }
  TEST_CASE("masks of the catalogue: seven tokens, packed, groups of 1") {
    check_masks(7, 1, KvLayout::kPacked);
  }
  TEST_CASE("masks of the catalogue: all tokens, pages by head, groups of 1") {
    check_masks(kGeneratedTokens, 1, KvLayout::kHND);
  }

  TEST_CASE("scores of the catalogue: all tokens, seven, one; two sequences") {
    const expr::catalogue::Tables tables;
    constexpr auto kKeys = static_cast<int32_t>(expr::catalogue::kTokens);
    for (const auto& score : expr::catalogue::kScores) {
      const std::string name = score.name;
      CAPTURE(name);
      for (const int32_t q_len : {kKeys, 7, 1}) {
        ProblemShape shape = base_shape(4, q_len == 7 ? 4 : 1);
        shape.spec.score = compiled_score(parsed(score.text));
        shape.score_values = tables.values();
        shape.spec.causal = q_len != 7;
        shape.layout = q_len == 1 ? KvLayout::kPacked : KvLayout::kNHD;
        shape.sequences = {{.q_len = q_len, .kv_len = kKeys}, {.q_len = 1, .kv_len = kKeys - 9}};
        CHECK(finding(Problem(shape)) == "");
      }
    }
  }

  TEST_CASE("a mask and a score, over splits that rows do not see, and for each head") {
    CHECK(finding(Problem(long_shape())) == "");
    CHECK(finding(Problem(heads_shape())) == "");
    ProblemShape wide = heads_shape();
    wide.spec.head_dim = 192;
    wide.spec.head_dim_v = 130;
    CHECK(finding(Problem(wide)) == "");
  }

  TEST_CASE(
      "pages, the batch around a sequence, how splits are shared and who keeps states: no bit") {
    const ProblemShape shape = long_shape();
    const Output expected = result_of(shape);
    ProblemShape other = shape;
    other.page_size = 16;
    other.page_seed = 3;
    CHECK(check_same_bits(expected, result_of(other)) == "");
    ProblemShape alone = shape;
    alone.sequences = {shape.sequences[0]};
    const Output one = result_of(alone);
    CHECK(check_same_bits({expected, 0}, {one, 0}, 1) == "");

    const Problem problem(shape);
    Plan plan;
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    Partials partials(problem, plan.num_splits());
    Output unused = problem.make_output();
    AttendArgs args = problem.args(unused);
    SimtMemory named;
    name_buffers(args, *plan.data(), named);
    for (const int32_t items : {1, 2, 3}) {
      const PlanData other_items = in_items(*plan.data(), items);
      CHECK(simt_attend(other_items, args, named, with_printed()) == "");
      CHECK(check_same_bits(expected, unused) == "");
    }
    const PlanData single = in_items(*plan.data(), 1);
    args.partial = partials.view;
    name_buffers(args, single, named);
    CHECK(simt_attend(single, args, named, with_printed()) == "");
    Output merged = problem.make_output();
    MergeTask task;
    task.partials = {&partials.view, 1};
    task.out = merged.view;
    task.lse = merged.lse_view;
    SimtMemory memory;
    for (const std::vector<float>* list : {&partials.acc, &partials.ref, &partials.sum}) {
      memory.readable(list->data(), list->size() * 4);
    }
    memory.writable(merged.bytes.data(), merged.bytes.size());
    memory.writable(merged.lse.data(), merged.lse.size() * 4);
    CHECK(simt_merge(task, memory) == "");
    CHECK(check_same_bits(expected, merged) == "");
  }

  TEST_CASE("blocks of keys that no row sees are not read") {
    ProblemShape shape = long_shape();
    shape.layout = KvLayout::kPacked;
    shape.sequences = {shape.sequences[0]};
    const Problem problem(shape);
    Plan plan;
    REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
    Output output = problem.make_output();
    const AttendArgs args = problem.args(output);
    const auto run = [&](int32_t first_end, int32_t second_begin) {
      SimtMemory memory;
      AttendArgs without = args;
      without.kv.num_tokens = 0;
      name_buffers(without, *plan.data(), memory);
      const auto name = [&](const void* data, const KvStrides& strides) {
        const auto* rows = static_cast<const uint16_t*>(data);
        memory.readable(rows, static_cast<size_t>(first_end * strides.token) * 2);
        memory.readable(rows + second_begin * strides.token,
                        static_cast<size_t>((2600 - second_begin) * strides.token) * 2);
      };
      name(args.kv.k, args.kv.k_strides);
      name(args.kv.v, args.kv.v_strides);
      return simt_attend(*plan.data(), args, memory, with_printed());
    };
    // Keys 0 to 699 and 2001 to 2599, in whole blocks.
    CHECK(run(704, 1984) == "");
    CHECK(run(640, 1984).find("outside of all buffers") != std::string::npos);
    CHECK(run(704, 2048).find("outside of all buffers") != std::string::npos);
  }

  TEST_CASE("NaN in V that the mask hides from some rows of a block reaches the others alone") {
    ProblemShape shape = base_shape(2, 1);
    shape.spec.mask = compiled_mask(generated_pairs()[1].first);
    shape.sequences = {{.q_len = 20, .kv_len = 90}};
    Problem problem(shape);
    problem.set_v(0, 81, 0, 5, std::nan(""));
    CHECK(finding(problem) == "");
  }
}

TEST_SUITE("printed expressions that are wrong on purpose") {
  TEST_CASE("a mask for the next key, and a score that is off, are found") {
    static SimtExpression right;
    SimtAttend options;
    options.find = [](const std::string& source) {
      static SimtExpression wrong;
      right = *find_compiled(source);
      wrong = right;
      wrong.sees = [](const cuda::DeviceSlot* slots, const cuda::ExprPoint& at) {
        cuda::ExprPoint next = at;
        ++next.kv;
        return right.sees(slots, next);
      };
      return static_cast<const SimtExpression*>(&wrong);
    };
    CHECK(finding(Problem(heads_shape()), options).find(" at token ") != std::string::npos);
    options.find = [](const std::string& source) {
      static SimtExpression wrong;
      right = *find_compiled(source);
      wrong = right;
      wrong.score = [](const cuda::DeviceSlot* slots, const cuda::ExprPoint& at, float score) {
        return right.score(slots, at, score) + 0.25f * static_cast<float>(at.kv % 2);
      };
      return static_cast<const SimtExpression*>(&wrong);
    };
    CHECK(finding(Problem(heads_shape()), options) != "");
  }

  TEST_CASE("a source in which one comparison is another one is not what was compiled") {
    ProblemShape shape = heads_shape();
    shape.spec.mask = compiled_mask(parsed("kv % 3 != h % 3 || kv <= q"));
    CHECK(finding(Problem(shape)).find("nothing was compiled") != std::string::npos);
  }
}

}  // namespace attnrt::test
