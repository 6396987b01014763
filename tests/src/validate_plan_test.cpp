// SPDX-License-Identifier: Apache-2.0
// What make_plan refuses, by the exact message, and that a refused plan keeps its old content.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "attnrt/attention.hpp"
#include "src/validate.hpp"

namespace attnrt {
namespace {

constexpr int32_t kMaxInt32 = std::numeric_limits<int32_t>::max();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// Four sequences, one without keys, one exactly at the end of its pages, one all leftpad. Entries
// that no sequence needs hold -7, which is refused if ever read.
struct Case {
  AttentionSpec spec;
  PlanOptions options;
  std::vector<int32_t> cu_q = {0, 2, 2, 5, 6};
  std::vector<int32_t> cu_k;
  std::vector<int32_t> used;
  std::vector<int32_t> q_start;
  std::vector<int32_t> leftpad;
  std::vector<int32_t> pages;
  std::vector<int32_t> indptr;
  std::vector<int32_t> last_page_len;
  int32_t page_size = 0;
  int32_t max_pages = 0;
  int64_t row_stride = 0;

  Case() {
    spec.num_heads_q = 8;
    spec.num_heads_kv = 2;
    spec.head_dim = 64;
  }

  [[nodiscard]] SequenceBatch batch() const {
    SequenceBatch batch;
    batch.cu_seqlens_q = cu_q;
    batch.cu_seqlens_k = cu_k;
    batch.seqused_k = used;
    batch.q_start = q_start;
    batch.leftpad_k = leftpad;
    batch.block_table = {page_size, pages, max_pages, row_stride, indptr, last_page_len};
    return batch;
  }
};

Case dense_case() {
  Case c;
  c.used = {40, 0, 64, 17};
  c.leftpad = {3, 0, 20, 17};
  c.q_start = {0, -5, kMaxInt32, std::numeric_limits<int32_t>::min()};
  c.page_size = 16;
  c.max_pages = 4;
  c.row_stride = 5;
  c.pages = {3,  1,  4,  -7, -7,  // 40 keys: three pages
             -7, -7, -7, -7, -7,  // none
             -7, 9,  9,  5,  -7,  // 64 keys from slot 20 on: the last three
             -7, -7, -7, -7};     // leftpad alone, so none; the row ends at its last page
  return c;
}

Case csr_case() {
  Case c;
  c.page_size = 16;
  c.indptr = {0, 3, 3, 7, 9};
  c.pages = {3, 1, 4, 8, 9, 7, 5, 2, 6};
  c.last_page_len = {8, 0, 16, 1};
  return c;
}

Case packed_case() {
  Case c;
  c.cu_k = {0, 40, 40, 104, 121};
  c.used = {40, 0, 60, 1};
  return c;
}

struct Row {
  std::string message;
  std::function<void(Case&)> spoil;
};

void check_refused(const Case& good, const std::vector<Row>& rows) {
  Plan plan;
  REQUIRE(make_plan(good.spec, good.batch(), plan, good.options).message() == "");
  for (const Row& row : rows) {
    CAPTURE(row.message);
    Case bad = good;
    row.spoil(bad);
    const Status status = make_plan(bad.spec, bad.batch(), plan, bad.options);
    CHECK(status.code() == Code::kInvalidArgument);
    CHECK(status.message() == row.message);
    CHECK(plan.valid());
    CHECK(plan.batch_size() == 4);
    CHECK(plan.total_q() == 6);
  }
}

TEST_CASE("make_plan refuses bad specs") {
  check_refused(
      dense_case(),
      {
          {"num_heads_q is 0, must be positive", [](Case& c) { c.spec.num_heads_q = 0; }},
          {"num_heads_kv is 0, must be positive", [](Case& c) { c.spec.num_heads_kv = 0; }},
          {"num_heads_kv is -2, must be positive", [](Case& c) { c.spec.num_heads_kv = -2; }},
          {"num_heads_q is 7, must be a multiple of 2 (num_heads_kv)",
           [](Case& c) { c.spec.num_heads_q = 7; }},
          {"head_dim is 0, must be positive", [](Case& c) { c.spec.head_dim = 0; }},
          {"head_dim_v is -1, must not be negative", [](Case& c) { c.spec.head_dim_v = -1; }},
          {"num_branches is 0, must be 1..8", [](Case& c) { c.spec.num_branches = 0; }},
          {"num_branches is 9, must be 1..8", [](Case& c) { c.spec.num_branches = 9; }},
          {"softmax_scale is nan, must be finite", [](Case& c) { c.spec.softmax_scale = kNan; }},
          {"softmax_scale is -inf, must be finite", [](Case& c) { c.spec.softmax_scale = -kInf; }},
          {"window_left is -2, must be -1 (all) or more", [](Case& c) { c.spec.window_left = -2; }},
          {"window_right is -2, must be -1 (all) or more",
           [](Case& c) { c.spec.window_right = -2; }},
          {"softcap is -1.5, must be finite and not negative",
           [](Case& c) { c.spec.softcap = -1.5f; }},
          {"softcap is nan, must be finite and not negative",
           [](Case& c) { c.spec.softcap = kNan; }},
          {"softcap is inf, must be finite and not negative",
           [](Case& c) { c.spec.softcap = kInf; }},
      });
}

TEST_CASE("make_plan takes the extremes that are legal") {
  Case c = dense_case();
  c.spec.softmax_scale = -0.0f;
  c.spec.window_left = kMaxInt32;
  c.spec.window_right = 0;
  c.spec.softcap = std::numeric_limits<float>::max();
  Plan plan;
  CHECK(make_plan(c.spec, c.batch(), plan).message() == "");
}

TEST_CASE("make_plan refuses bad query lengths and lists of the wrong size") {
  check_refused(
      dense_case(),
      {
          {"cu_seqlens_q is empty, must have batch + 1 entries, the first 0",
           [](Case& c) { c.cu_q.clear(); }},
          {"cu_seqlens_q[0] is 1, must be 0", [](Case& c) { c.cu_q[0] = 1; }},
          {"cu_seqlens_q[3] is 1, must be at least 2 (the entry before it)",
           [](Case& c) { c.cu_q[3] = 1; }},
          {"cu_seqlens_q[1] is -2, must be at least 0 (the entry before it)",
           [](Case& c) { c.cu_q[1] = -2; }},
          {"cu_seqlens_q[4] is -2147483648, must be at least 5 (the entry before it)",
           [](Case& c) { c.cu_q[4] = std::numeric_limits<int32_t>::min(); }},
          {"seqused_k has 3 entries, must have 4 (batch)", [](Case& c) { c.used.pop_back(); }},
          {"q_start has 5 entries, must have 4 (batch)", [](Case& c) { c.q_start.push_back(0); }},
          {"leftpad_k has 3 entries, must have 4 (batch)", [](Case& c) { c.leftpad.pop_back(); }},
          {"seqused_k is empty, a dense block_table needs it", [](Case& c) { c.used.clear(); }},
          {"cu_seqlens_k and block_table are both given, K is either packed or paged",
           [](Case& c) {
             c.cu_k = {0, 40, 40, 104, 121};
           }},
          {"block_table.page_size is 0, must be positive: the table has 19 pages",
           [](Case& c) { c.page_size = 0; }},
          {"block_table.page_size is -16, must not be negative",
           [](Case& c) { c.page_size = -16; }},
          {"cu_seqlens_k and block_table are both empty, one must say where the keys are",
           [](Case& c) {
             c.page_size = 0;
             c.pages.clear();
           }},
      });
}

TEST_CASE("make_plan refuses bad key lengths") {
  check_refused(dense_case(),
                {
                    {"seqused_k[2] is -1, must not be negative", [](Case& c) { c.used[2] = -1; }},
                    {"seqused_k[2] is 65, the block_table holds 64 keys (4 pages of 16)",
                     [](Case& c) { c.used[2] = 65; }},
                    {"leftpad_k[0] is -1, must be 0..40 (keys of the sequence)",
                     [](Case& c) { c.leftpad[0] = -1; }},
                    {"leftpad_k[3] is 18, must be 0..17 (keys of the sequence)",
                     [](Case& c) { c.leftpad[3] = 18; }},
                });
  check_refused(packed_case(),
                {
                    {"cu_seqlens_k has 4 entries, must have 5 (batch + 1)",
                     [](Case& c) { c.cu_k.pop_back(); }},
                    {"cu_seqlens_k[0] is 2, must be 0", [](Case& c) { c.cu_k[0] = 2; }},
                    {"cu_seqlens_k[2] is 39, must be at least 40 (the entry before it)",
                     [](Case& c) { c.cu_k[2] = 39; }},
                    {"seqused_k[2] is 65, cu_seqlens_k gives the sequence 64 keys",
                     [](Case& c) { c.used[2] = 65; }},
                    {"seqused_k[1] is -3, must not be negative", [](Case& c) { c.used[1] = -3; }},
                    {"leftpad_k[1] is 1, must be 0..0 (keys of the sequence)",
                     [](Case& c) {
                       c.leftpad = {0, 1, 0, 0};
                     }},
                });
}

TEST_CASE("make_plan refuses bad dense block tables") {
  check_refused(
      dense_case(),
      {
          {"block_table.pages has 18 entries, must have 19 (4 rows of 4 pages, row stride 5)",
           [](Case& c) { c.pages.pop_back(); }},
          {"block_table.max_pages is -1, must not be negative", [](Case& c) { c.max_pages = -1; }},
          {"block_table.row_stride is 3, must be 0 or at least 4 (max_pages)",
           [](Case& c) { c.row_stride = 3; }},
          {"block_table.row_stride is -5, must be 0 or at least 4 (max_pages)",
           [](Case& c) { c.row_stride = -5; }},
          {"block_table.pages has 19 entries, must have 9223372036854775807 (4 rows of 4 pages, "
           "row stride 9223372036854775807)",
           [](Case& c) { c.row_stride = std::numeric_limits<int64_t>::max(); }},
          {"block_table.last_page_len is given without block_table.indptr",
           [](Case& c) {
             c.last_page_len = {8, 0, 16, 1};
           }},
          {"seqused_k[2] is 64, the block_table holds 48 keys (3 pages of 16)",
           [](Case& c) { c.max_pages = 3; }},
          {"block_table[0][1] is -1, must not be negative", [](Case& c) { c.pages[1] = -1; }},
          {"block_table[2][1] is -2147483648, must not be negative",
           [](Case& c) { c.pages[11] = std::numeric_limits<int32_t>::min(); }},
          {"block_table[2][0] is -7, must not be negative", [](Case& c) { c.leftpad[2] = 15; }},
          {"block_table[0][3] is -7, must not be negative", [](Case& c) { c.used[0] = 49; }},
      });
}

TEST_CASE("make_plan refuses bad CSR block tables") {
  check_refused(
      csr_case(),
      {
          {"block_table.indptr has 4 entries, must have 5 (batch + 1)",
           [](Case& c) { c.indptr.pop_back(); }},
          {"block_table.indptr[0] is 1, must be 0", [](Case& c) { c.indptr[0] = 1; }},
          {"block_table.indptr[2] is 2, must be at least 3 (the entry before it)",
           [](Case& c) { c.indptr[2] = 2; }},
          {"block_table.indptr[4] is 10, block_table.pages has 9 entries",
           [](Case& c) { c.indptr[4] = 10; }},
          {"block_table.last_page_len has 3 entries, must have 4 (batch)",
           [](Case& c) { c.last_page_len.pop_back(); }},
          {"block_table.last_page_len[0] is 0, must be 1..16 (page_size)",
           [](Case& c) { c.last_page_len[0] = 0; }},
          {"block_table.last_page_len[2] is 17, must be 1..16 (page_size)",
           [](Case& c) { c.last_page_len[2] = 17; }},
          {"block_table.last_page_len[1] is -1, must be 0..16 (page_size)",
           [](Case& c) { c.last_page_len[1] = -1; }},
          {"seqused_k and block_table.last_page_len are both empty, one must say how many keys "
           "the last pages hold",
           [](Case& c) { c.last_page_len.clear(); }},
          {"seqused_k[2] is 65, the block_table holds 64 keys (4 pages of 16)",
           [](Case& c) {
             c.used = {40, 0, 65, 17};
           }},
          {"block_table.indptr gives sequence 0 3000000008 keys, at most 2147483647 are possible",
           [](Case& c) { c.page_size = 1'500'000'000; }},
          {"block_table[2][3] is -1, must not be negative", [](Case& c) { c.pages[6] = -1; }},
      });
}

TEST_CASE("the number of pages is exactly what the length needs, at every multiple of page_size") {
  for (int32_t page_size : {1, 7, 16}) {
    for (int32_t used = 0; used <= 4 * page_size; ++used) {
      const int32_t needed = (used + page_size - 1) / page_size;
      Case c;
      c.cu_q = {0, 1};
      c.used = {used};
      c.page_size = page_size;
      c.max_pages = needed;
      c.pages.assign(static_cast<size_t>(needed), 2);
      Plan plan;
      CHECK(make_plan(c.spec, c.batch(), plan).message() == "");

      c.max_pages = needed + 1;  // one longer; the entry would be refused if it were read
      c.pages.push_back(-1);
      CHECK(make_plan(c.spec, c.batch(), plan).message() == "");

      if (needed == 0) continue;
      c.max_pages = needed - 1;
      CHECK(make_plan(c.spec, c.batch(), plan).message() ==
            "seqused_k[0] is " + std::to_string(used) + ", the block_table holds " +
                std::to_string((needed - 1) * page_size) + " keys (" + std::to_string(needed - 1) +
                " pages of " + std::to_string(page_size) + ")");
    }
  }
}

TEST_CASE("the largest page id is found with its place; trusted ids are not read") {
  Case c = dense_case();
  PageBound bound;
  REQUIRE(validate_plan(c.spec, c.batch(), {}, bound).ok());
  CHECK(bound.max_id == 9);
  CHECK(bound.seq == 2);
  CHECK(bound.index == 1);

  c = csr_case();
  c.pages[8] = kMaxInt32;
  REQUIRE(validate_plan(c.spec, c.batch(), {}, bound).ok());
  CHECK(bound.max_id == kMaxInt32);
  CHECK(bound.seq == 3);
  CHECK(bound.index == 1);

  c.pages[0] = -1;
  REQUIRE(validate_plan(c.spec, c.batch(), {Validation::kTrusted}, bound).ok());
  CHECK(bound.max_id == -1);
  c.used = {40, 0, 65, 17};
  CHECK(validate_plan(c.spec, c.batch(), {Validation::kTrusted}, bound).message() ==
        "seqused_k[2] is 65, the block_table holds 64 keys (4 pages of 16)");
}

TEST_CASE("batches of nobody and of 65,536 are fine") {
  Plan plan;
  Case c;
  c.cu_q = {0};
  c.cu_k = {0};
  CHECK(make_plan(c.spec, c.batch(), plan).message() == "");
  CHECK(plan.batch_size() == 0);

  c.cu_k.clear();
  c.page_size = 16;
  CHECK(make_plan(c.spec, c.batch(), plan).message() == "");
  c.indptr = {0};
  CHECK(make_plan(c.spec, c.batch(), plan).message() == "");

  Case many;
  many.cu_q.assign(65'537, 0);
  many.cu_k.assign(65'537, 0);
  for (size_t i = 0; i < many.cu_q.size(); ++i) {
    many.cu_q[i] = static_cast<int32_t>(i);
    many.cu_k[i] = static_cast<int32_t>(2 * i);
  }
  CHECK(make_plan(many.spec, many.batch(), plan).message() == "");
  CHECK(plan.batch_size() == 65'536);
  many.cu_k[60'000] = 0;
  CHECK(make_plan(many.spec, many.batch(), plan).message() ==
        "cu_seqlens_k[60000] is 0, must be at least 119998 (the entry before it)");
}

}  // namespace
}  // namespace attnrt
