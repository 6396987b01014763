// SPDX-License-Identifier: Apache-2.0
// Plans of masks: what becomes a window, which runs are left, and what is refused.
#include "src/plan_mask.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "attnrt/attention.hpp"
#include "attnrt/mask_formats.hpp"
#include "src/plan_data.hpp"
#include "src/plan_verify.hpp"
#include "tests/support/programs.hpp"

namespace attnrt {
namespace {

using expr::ElementType;
using test::mask_of;

// One sequence of 1000 tokens that attend to themselves; 4 heads on 2.
struct MaskCase {
  AttentionSpec spec;
  std::vector<int32_t> cu{0, 1000};
  std::vector<expr::SlotValue> values;
  SequenceBatch batch;
  Plan plan;

  explicit MaskCase(const std::string& text) {
    spec.num_heads_q = 4;
    spec.num_heads_kv = 2;
    spec.head_dim = 16;
    spec.mask = mask_of(text);
    batch.cu_seqlens_q = cu;
    batch.cu_seqlens_k = cu;
  }
  MaskCase(const MaskCase&) = delete;
  MaskCase& operator=(const MaskCase&) = delete;

  [[nodiscard]] Status make(const PlanOptions& options = {.verify_mask = true}) {
    batch.mask_values = values;
    return make_plan(spec, batch, plan, options);
  }
  [[nodiscard]] const PlanData& made() {
    REQUIRE(make().message() == "");
    return *plan.data();
  }
};

TEST_CASE("masks that are windows leave nothing to evaluate") {
  struct Row {
    const char* text;
    int32_t left, right;
  };
  for (const Row& row : std::initializer_list<Row>{{"true", -1, -1},
                                                   {"kv <= q", -1, 0},
                                                   {"kv <= q && q - kv < 64", 63, 0},
                                                   {"abs(q - kv) <= 7", 7, 7},
                                                   {"kv <= q && q - kv <= window", 40, 0},
                                                   {"q == kv", 0, 0},
                                                   {"kv < q + 1 && kv < q + 5", -1, 0}}) {
    CAPTURE(row.text);
    MaskCase c(row.text);
    c.values = {expr::int_value("window", 40)};
    const PlanData& plan = c.made();
    CHECK(plan.mask == nullptr);
    CHECK(plan.spec.window_left == row.left);
    CHECK(plan.spec.window_right == row.right);

    AttentionSpec built_in = c.spec;
    built_in.mask = {};
    built_in.window_left = row.left;
    built_in.window_right = row.right;
    Plan same;
    REQUIRE(make_plan(built_in, c.batch, same).ok());
    CHECK(c.plan.num_scores() == same.num_scores());
    CHECK(c.plan.num_items() == same.num_items());
    CHECK(c.plan.sparsity().empty_blocks == same.sparsity().empty_blocks);
    CHECK(c.plan.sparsity().full_blocks == same.sparsity().full_blocks);
  }
}

TEST_CASE("windows of a mask meet those of the options") {
  MaskCase c("kv <= q && q - kv < 64");
  c.spec.window_left = 20;
  CHECK(c.made().spec.window_left == 20);
  c.spec.window_left = 500;
  CHECK(c.made().spec.window_left == 63);
}

TEST_CASE("bounds that look the other way are evaluated, and the window beside them is not") {
  MaskCase c("kv < q && q - kv < 200");
  const PlanData& plan = c.made();
  REQUIRE(plan.mask != nullptr);
  CHECK(plan.spec.window_left == 199);
  CHECK(plan.spec.window_right == -1);
  for (const expr::MaskRun& run : plan.runs) {
    CHECK((run.undecided & plan.mask->window_conjuncts()) == 0);
  }
}

TEST_CASE("a key may be farther ahead of its query than a window reaches") {
  const std::vector<int32_t> q_start{std::numeric_limits<int32_t>::min()};
  for (const int64_t window :
       {int64_t{1} << 30, (int64_t{1} << 31) - 1, int64_t{1} << 31, (int64_t{1} << 32) - 1}) {
    CAPTURE(window);
    MaskCase c("kv - q <= window");
    c.batch.q_start = q_start;
    c.values = {expr::int_value("window", window)};
    REQUIRE(c.make().message() == "");
    expr::RowIntervals seen;
    REQUIRE(expr::export_row_intervals(c.plan, 0, 0, seen).ok());
    int64_t keys = 0;
    for (const expr::RowInterval& interval : seen.intervals) keys += interval.end - interval.begin;
    int64_t want = 0;
    for (int64_t token = 0; token < 1000; ++token) {
      want += std::clamp<int64_t>(window + q_start[0] + token + 1, 0, 1000);
    }
    CHECK(keys == want);
  }
}

TEST_CASE("documents: runs hold what the windows do not say, and nothing else") {
  std::vector<int32_t> doc(1000);
  for (size_t i = 0; i < doc.size(); ++i) doc[i] = static_cast<int32_t>(i / 256);
  MaskCase c("i32 doc[]; kv <= q && doc[q] == doc[kv]");
  c.values = {expr::buffer_value("doc", ElementType::kI32, doc.data(), {1000})};
  const PlanData& plan = c.made();
  REQUIRE(plan.mask != nullptr);
  CHECK(plan.spec.window_right == 0);
  // Tiles of 128 tokens, two of each document: each sees its document up to its own end.
  REQUIRE(plan.tiles.size() == 8);
  for (size_t t = 0; t < 8; ++t) {
    const std::span<const expr::MaskRun> runs = plan.runs_of(plan.tiles[t]);
    REQUIRE(runs.size() == 1);
    CHECK(runs[0].key_begin == static_cast<int32_t>(t / 2 * 256));
    CHECK(runs[0].key_end == std::min(1000, static_cast<int32_t>(t + 1) * 128));
    // The document is decided for the whole tile, the window elsewhere.
    CHECK(runs[0].undecided == 0);
  }
  CHECK(c.plan.num_scores() == 4 * (3 * (256 * 257 / 2) + 232 * 233 / 2));
  CHECK(c.plan.kv_bytes(DType::kF32) == 2 * 1000 * 32 * 4);
}

TEST_CASE("masks of the head have tiles for each KV head") {
  MaskCase c("kv <= q && q - kv < 64 * (h + 1)");
  const PlanData& plan = c.made();
  REQUIRE(plan.tiles.size() == 2 * 8);
  for (const PlanTile& tile : plan.tiles) CHECK(heads_of(tile) == 1);
  // Heads 0 and 1 look back less than heads 2 and 3.
  CHECK(plan.tiles[7].keys < plan.tiles[15].keys);
  CHECK(plan.tiles[15].kv_head_begin == 1);
  const int64_t bytes = c.plan.kv_bytes(DType::kF32);
  CHECK(bytes == 2 * 1000 * 32 * 4);
}

TEST_CASE("sparsity and the picture of a plan") {
  std::vector<int32_t> doc(1000);
  for (size_t i = 0; i < doc.size(); ++i) doc[i] = static_cast<int32_t>(i / 512);
  MaskCase c("i32 doc[]; doc[q] == doc[kv]");
  c.values = {expr::buffer_value("doc", ElementType::kI32, doc.data(), {1000})};
  REQUIRE(c.make().ok());
  const Sparsity sparsity = c.plan.sparsity();
  CHECK(sparsity.blocks() == 2 * 8 * 16);
  CHECK(sparsity.empty_blocks == 2 * 8 * 8);
  CHECK(sparsity.partial_blocks == 0);
  CHECK(sparsity.sparsity() == 0.5);
  CHECK(c.plan.to_string() ==
        "1 sequences, 1000 query tokens, 8 tiles, 8 items, 50.0% of the blocks empty\n"
        "sequence 0: 1000 queries from position 0, 1000 keys\n"
        "########........\n########........\n########........\n########........\n"
        "........########\n........########\n........########\n........########\n");
  CHECK(Plan().to_string() == "no plan\n");
}

TEST_CASE("a causal plan pictured") {
  MaskCase c("kv <= q");
  c.cu = {0, 300};
  c.batch.cu_seqlens_q = c.cu;
  c.batch.cu_seqlens_k = c.cu;
  REQUIRE(c.make().ok());
  CHECK(c.plan.to_string().ends_with("++...\n##++.\n####+\n"));
  CHECK(c.plan.sparsity().empty_blocks == 2 * 4);
}

TEST_CASE("slots are refused by name, and the plan keeps what it had") {
  MaskCase c("i32 doc[]; doc[q] == doc[kv] && kv <= limit");
  const std::vector<int32_t> doc(1000);
  c.values = {expr::int_value("limit", 5)};
  CHECK(c.make().message() == "mask_values: slot 'doc' has no value");
  CHECK_FALSE(c.plan.valid());
  c.values.push_back(expr::buffer_value("doc", ElementType::kI32, doc.data(), {1000}));
  REQUIRE(c.make().ok());
  const PlanData* before = c.plan.data();
  c.values[0] = expr::float_value("limit", 5.0f);
  CHECK(c.make().message() ==
        "mask_values: slot 'limit' is a float, the expression uses an integer");
  CHECK(c.plan.data() == before);
}

TEST_CASE("positions beyond int32 are refused where a mask asks for them") {
  MaskCase c("kv % 2 == q % 2");
  const std::vector<int32_t> q_start{2147483000};
  c.batch.q_start = q_start;
  CHECK(c.make().message() ==
        "q_start[0] is 2147483000, with a mask its 1000 query tokens must end before 2147483647");
}

TEST_CASE("a table that changed behind the plan's back is found by verify") {
  // What verify is for: a promise that does not hold. Here that of a sorted table, which is checked
  // when it is bound, so the table is changed through the proof's own index.
  std::vector<int32_t> doc(1000);
  for (size_t i = 0; i < doc.size(); ++i) doc[i] = static_cast<int32_t>(i / 512);
  MaskCase c("i32 doc[]; doc[q] == doc[kv]");
  c.values = {expr::buffer_value("doc", ElementType::kI32, doc.data(), {1000})};
  REQUIRE(c.make().ok());
  doc[3] = 1;
  const Status status = verify_mask(*c.plan.data());
  CHECK(status.code() == Code::kInternal);
  CHECK(status.message() == "the plan has the mask true at b 0, h 0, q 0, kv 3, and it is not");
  doc[3] = doc[600] = 0;
  CHECK(verify_mask(*c.plan.data()).message() ==
        "the plan has the mask false at b 0, h 0, q 0, kv 600, and it is not");
}

// Everything of a plan that a backend runs by.
void check_same_plan(const PlanData& a, const PlanData& b) {
  REQUIRE(a.tiles.size() == b.tiles.size());
  REQUIRE(a.runs.size() == b.runs.size());
  REQUIRE(a.items.size() == b.items.size());
  for (size_t i = 0; i < a.tiles.size(); ++i) {
    CHECK(a.tiles[i].key_begin == b.tiles[i].key_begin);
    CHECK(a.tiles[i].key_end == b.tiles[i].key_end);
    CHECK(a.tiles[i].run_end == b.tiles[i].run_end);
  }
  for (size_t i = 0; i < a.runs.size(); ++i) {
    CHECK(a.runs[i].key_begin == b.runs[i].key_begin);
    CHECK(a.runs[i].key_end == b.runs[i].key_end);
    CHECK(a.runs[i].undecided == b.runs[i].undecided);
  }
  for (size_t i = 0; i < a.items.size(); ++i) CHECK(a.items[i].cost == b.items[i].cost);
}

// A table that is written as tokens come, in whatever order its elements stand.
void check_extended(const std::string& text, int32_t (*document)(int32_t position)) {
  std::vector<int32_t> doc(1000, -1);
  MaskCase c(text);
  std::vector<int32_t> cu_q{0, 1};
  std::vector<int32_t> cu_k{0, 0};
  c.batch.cu_seqlens_q = cu_q;
  c.values = {expr::buffer_value("doc", ElementType::kI32, doc.data(), {1000})};
  MaskCase fresh(text);
  fresh.batch.cu_seqlens_q = cu_q;
  fresh.values = c.values;
  for (int32_t length = 1; length <= 1000; length += length < 900 ? 97 : 1) {
    for (int32_t i = cu_k[1]; i < length; ++i) doc[static_cast<size_t>(i)] = document(i);
    cu_k[1] = length;
    c.batch.cu_seqlens_k = fresh.batch.cu_seqlens_k = cu_k;
    c.batch.mask_values = c.values;
    if (c.plan.valid()) {
      REQUIRE(extend_plan(c.batch, c.plan, {.verify_mask = true}).message() == "");
    } else {
      REQUIRE(c.make().message() == "");
    }
    check_same_plan(*c.plan.data(), fresh.made());
  }
}

TEST_CASE("an extended plan is the plan that is made anew") {
  const std::string text = "i32 doc[]; kv <= q && doc[q] == doc[kv]";
  check_extended(text, [](int32_t i) { return i / 100; });
  check_extended(text, [](int32_t i) { return i * 7 % 31; });
  check_extended(text, [](int32_t i) { return i < 600 ? i / 50 : 2000 - i; });
}

TEST_CASE("extending asks for a plan, for slots and for a promised order") {
  std::vector<int32_t> doc(1000, 7);
  MaskCase c("sorted i32 doc[]; doc[q] == doc[kv] && kv < limit");
  CHECK(extend_plan(c.batch, c.plan).message() == "plan is empty, make_plan fills it");
  c.values = {expr::buffer_value("doc", ElementType::kI32, doc.data(), {1000}),
              expr::int_value("limit", 800)};
  c.cu = {0, 500};
  c.batch.cu_seqlens_q = c.cu;
  c.batch.cu_seqlens_k = c.cu;
  REQUIRE(c.make().message() == "");
  const PlanData* before = c.plan.data();
  c.batch.mask_values = {};
  CHECK(extend_plan(c.batch, c.plan).message() == "mask_values: slot 'doc' has no value");
  c.batch.mask_values = c.values;
  doc[600] = 9;
  CHECK(extend_plan(c.batch, c.plan).message() ==
        "mask_values: slot 'doc' is declared sorted and is not: element 601 is less than the one "
        "before, or a NaN");
  CHECK(c.plan.data() == before);
  // Another value of another slot: nothing of the old plan can be used.
  doc[600] = 7;
  c.values[1] = expr::int_value("limit", 100);
  c.batch.mask_values = c.values;
  REQUIRE(extend_plan(c.batch, c.plan, {.verify_mask = true}).message() == "");
  CHECK(c.plan.num_scores() < 4 * 500 * 129);
}

}  // namespace
}  // namespace attnrt
