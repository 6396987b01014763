// SPDX-License-Identifier: Apache-2.0
// Shapes at the edges, on every ISA: lengths of zero, offsets beyond 2^32, memory that must not be
// touched. Tests carry the number of the fault that they stand for.
#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "backends/reference/element.hpp"
#include "tests/support/check.hpp"
#include "tests/support/guarded.hpp"

namespace attnrt {
namespace {

using test::Output;
using test::Problem;
using test::ProblemShape;
using Guard = test::GuardedBuffer::Guard;

ProblemShape small_shape(int32_t heads_q = 4, int32_t heads_kv = 2, int32_t dim = 32) {
  ProblemShape shape;
  shape.spec.num_heads_q = heads_q;
  shape.spec.num_heads_kv = heads_kv;
  shape.spec.head_dim = dim;
  shape.kv_dtype = DType::kBF16;
  return shape;
}

template <class Check>
void for_each_isa(const Check& check) {
  for (const std::string& isa : test::usable_isas()) {
    CAPTURE(isa);
    Context context = test::cpu_context(isa);
    check(context);
  }
}

void check_on_every_isa(const ProblemShape& shape) { test::check_on_every_isa(Problem(shape)); }

// Copies the keys of a packed problem to where other strides want them.
void move_keys(const Problem& problem, const KvView& to, int32_t first_page) {
  const KvView from = problem.kv();
  const int64_t bytes = size_of(from.dtype);
  for (int64_t key = 0; key < from.num_tokens; ++key) {
    for (int64_t head = 0; head < from.num_heads_kv; ++head) {
      const auto offset = [&](const KvView& kv, const KvStrides& s) {
        if (kv.layout == KvLayout::kPacked) return (key * s.token + head * s.head) * bytes;
        const int64_t page = first_page + key / kv.page_size;
        return (page * s.page + key % kv.page_size * s.token + head * s.head) * bytes;
      };
      std::memcpy(static_cast<std::byte*>(to.k) + offset(to, to.k_strides),
                  static_cast<const std::byte*>(from.k) + offset(from, from.k_strides),
                  static_cast<size_t>(from.head_dim * bytes));
      std::memcpy(static_cast<std::byte*>(to.v) + offset(to, to.v_strides),
                  static_cast<const std::byte*>(from.v) + offset(from, from.v_strides),
                  static_cast<size_t>(from.head_dim_v * bytes));
    }
  }
}

}  // namespace

TEST_SUITE("faults") {
  TEST_CASE("F1: lengths of zero for one, some and all sequences") {
    ProblemShape shape = small_shape();
    for (const bool causal : {false, true}) {
      shape.spec.causal = causal;
      shape.sequences = {{3, 40}, {0, 17}, {2, 0}, {0, 0}, {1, 1}};
      check_on_every_isa(shape);
      shape.sequences = {{0, 5}, {0, 0}};
      check_on_every_isa(shape);
      shape.sequences = {{2, 0}, {1, 0}, {3, 0}};
      check_on_every_isa(shape);
      shape.layout = KvLayout::kPacked;
      check_on_every_isa(shape);
    }
  }

  TEST_CASE("F4: more queries than keys with causal: the first rows are empty") {
    ProblemShape shape = small_shape();
    shape.spec.causal = true;
    shape.sequences = {{30, 7}, {70, 1}, {300, 5}};
    check_on_every_isa(shape);
    for_each_isa([&](Context& context) {
      const Problem problem(shape);
      Output output = problem.make_output();
      REQUIRE(test::run(context, problem, output) == "ok");
      CHECK(output.at(22, 0, 0) == 0.0);
      CHECK(output.lse[22] == -std::numeric_limits<float>::infinity());
      CHECK(output.lse[23] > -1e30f);
    });
  }

  TEST_CASE("F5: offsets of K and V beyond 2^32 elements") {
    ProblemShape shape = small_shape();
    shape.layout = KvLayout::kPacked;
    shape.sequences = {{2, 70}};
    const Problem problem(shape);
    constexpr int64_t kElements = int64_t{9} << 30;  // 18 GiB of bf16 address space
    const test::SparseBuffer k(static_cast<size_t>(kElements) * 2);
    const test::SparseBuffer v(static_cast<size_t>(kElements) * 2);
    KvView far = problem.kv();
    far.k = k.data();
    far.v = v.data();
    far.k_strides = far.v_strides = {0, int64_t{1} << 26, 40};  // token 69 stands at 2^32 * 1.08
    KvView far_heads = far;
    far_heads.k_strides = far_heads.v_strides = {0, 64, (int64_t{1} << 32) + 16};
    for (const KvView& kv : {far, far_heads}) {
      move_keys(problem, kv, 0);
      for_each_isa([&](Context& context) {
        Output near_output = problem.make_output();
        REQUIRE(test::run(context, problem, near_output) == "ok");
        Output output = problem.make_output();
        AttendArgs args = problem.args(output);
        args.kv = kv;
        Plan plan;
        REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
        REQUIRE(attend(context, plan, args).ok());
        CHECK(test::check_same_bits(output, near_output) == "");
      });
    }
  }

  TEST_CASE("F5: pages beyond 2^32 elements") {
    ProblemShape shape = small_shape();
    shape.layout = KvLayout::kPacked;
    shape.sequences = {{1, 70}};
    const Problem problem(shape);
    constexpr int64_t kPageStride = (int64_t{1} << 28) + 64;
    constexpr int32_t kFirstPage = 14;
    const test::SparseBuffer k(static_cast<size_t>(kPageStride * 20 * 2));
    const test::SparseBuffer v(static_cast<size_t>(kPageStride * 20 * 2));
    KvView kv = KvView::paged(k.data(), v.data(), DType::kBF16, KvLayout::kNHD, 20, 16, 2, 32);
    kv.k_strides.page = kv.v_strides.page = kPageStride;
    move_keys(problem, kv, kFirstPage);
    std::vector<int32_t> pages;
    for (int32_t i = 0; i < 5; ++i) pages.push_back(kFirstPage + i);
    const std::vector<int32_t> seqused{70};
    SequenceBatch batch = problem.batch();
    batch.cu_seqlens_k = {};
    batch.seqused_k = seqused;
    batch.block_table = BlockTable::dense(pages, 5, 16);
    for_each_isa([&](Context& context) {
      Output near_output = problem.make_output();
      REQUIRE(test::run(context, problem, near_output) == "ok");
      Output output = problem.make_output();
      AttendArgs args = problem.args(output);
      args.kv = kv;
      Plan plan;
      REQUIRE(make_plan(problem.spec(), batch, plan).ok());
      REQUIRE(attend(context, plan, args).ok());
      CHECK(test::check_same_bits(output, near_output) == "");
    });
  }

  TEST_CASE("F5: rows of q and out more than 2^32 elements apart") {
    ProblemShape shape = small_shape();
    shape.sequences = {{3, 40}};
    const Problem problem(shape);
    constexpr int64_t kStride = (int64_t{1} << 31) + 8;
    const test::SparseBuffer q(static_cast<size_t>(kStride * 3 * 4));
    const test::SparseBuffer out(static_cast<size_t>(kStride * 3 * 4));
    const ConstTensorView near_q = problem.q();
    for (int64_t token = 0; token < 3; ++token) {
      std::memcpy(q.data() + token * kStride * 4,
                  static_cast<const std::byte*>(near_q.data) + token * near_q.strides[0] * 4,
                  static_cast<size_t>(near_q.strides[0] * 4));
    }
    for_each_isa([&](Context& context) {
      Output near_output = problem.make_output();
      REQUIRE(test::run(context, problem, near_output) == "ok");
      Output unused = problem.make_output();
      AttendArgs args = problem.args(unused);
      args.q.data = q.data();
      args.q.strides[0] = kStride;
      args.out.data = out.data();
      args.out.strides[0] = kStride;
      Plan plan;
      REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
      REQUIRE(attend(context, plan, args).ok());
      for (int64_t token = 0; token < 3; ++token) {
        CHECK(std::memcmp(out.data() + token * kStride * 4,
                          near_output.bytes.data() + token * near_output.view.strides[0] * 4,
                          static_cast<size_t>(near_output.view.strides[0] * 4)) == 0);
      }
    });
  }

  TEST_CASE("F9: stale page ids past the valid tail are never read, nor what stands behind them") {
    ProblemShape shape = small_shape();
    shape.page_size = 16;
    shape.sequences = {{1, 16}, {2, 33}, {1, 0}, {4, 64}};
    const Problem problem(shape);
    CHECK(problem.pages[1] == std::numeric_limits<int32_t>::max());  // stale, by construction
    check_on_every_isa(shape);

    // The last row of the table ends with its last valid page; the memory behind it faults.
    SequenceBatch batch = problem.batch();
    const size_t rows = shape.sequences.size();
    const auto stride = static_cast<size_t>(batch.block_table.max_pages);
    const size_t entries = (rows - 1) * stride + 4;
    const test::GuardedBuffer table(problem.pages.data(), entries * 4, Guard::kBehind);
    batch.block_table.pages = {reinterpret_cast<const int32_t*>(table.data()), entries};
    batch.block_table.max_pages = 4;
    batch.block_table.row_stride = static_cast<int64_t>(stride);
    for_each_isa([&](Context& context) {
      Output output = problem.make_output();
      Plan plan;
      REQUIRE(make_plan(problem.spec(), batch, plan).ok());
      REQUIRE(attend(context, plan, problem.args(output)).ok());
      CHECK(test::check_close(problem, test::expect(problem), output,
                              test::weights_of(context, problem)) == "");
    });
  }

  TEST_CASE("F12: head dims that are no multiple of a vector, and Dv that is not Dqk") {
    for (const int32_t dim : {1, 40, 59, 80, 96, 111, 192, 256, 576}) {
      for (const int32_t dim_v : {0, 24, 65}) {
        ProblemShape shape = small_shape(6, 2, dim);
        shape.spec.head_dim_v = dim_v;
        shape.spec.causal = true;
        shape.sequences = {{1, 70}, {9, 20}};
        check_on_every_isa(shape);
      }
    }
  }

  TEST_CASE("F12: nothing is read or written past the ends of q, K, V, out and lse") {
    for (const Guard guard : {Guard::kBehind, Guard::kBefore}) {
      for (const int32_t dim : {1, 40, 59, 64, 111}) {
        for (const DType kv_dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
          for (const int32_t q_len : {1, 3, 40}) {
            ProblemShape shape = small_shape(3, 1, dim);
            shape.layout = KvLayout::kPacked;
            shape.kv_dtype = kv_dtype;
            shape.q_dtype = shape.out_dtype = kv_dtype;
            shape.sequences = {{q_len, 77}};
            const Problem problem(shape);
            const Output plain = problem.make_output();
            const KvView kv = problem.kv();
            const auto kv_bytes = static_cast<size_t>(77 * dim * size_of(kv_dtype));
            const test::GuardedBuffer q(problem.q().data, plain.bytes.size(), guard);
            const test::GuardedBuffer k(kv.k, kv_bytes, guard);
            const test::GuardedBuffer v(kv.v, kv_bytes, guard);
            const test::GuardedBuffer out(nullptr, plain.bytes.size(), guard);
            const test::GuardedBuffer lse(nullptr, plain.lse.size() * sizeof(float), guard);
            for_each_isa([&](Context& context) {
              Output want = problem.make_output();
              REQUIRE(test::run(context, problem, want) == "ok");
              AttendArgs args = problem.args(want);
              args.q.data = q.data();
              args.kv.k = k.data();
              args.kv.v = v.data();
              args.out.data = out.data();
              args.lse.data = reinterpret_cast<float*>(lse.data());
              Plan plan;
              REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
              REQUIRE(attend(context, plan, args).ok());
              CHECK(std::memcmp(out.data(), want.bytes.data(), want.bytes.size()) == 0);
              CHECK(std::memcmp(lse.data(), want.lse.data(), want.lse.size() * 4) == 0);
            });
          }
        }
      }
    }
  }

  TEST_CASE("F14: page sizes 1, 7, 16, 17, 256 and 1000") {
    for (const int32_t page_size : {1, 7, 16, 17, 256, 1000}) {
      ProblemShape shape = small_shape();
      shape.page_size = page_size;
      // Lengths at, below and above multiples of the page.
      for (const int32_t pages : {1, 2}) {
        shape.sequences.push_back({1, page_size * pages});
        shape.sequences.push_back({2, page_size * pages - 1});
        shape.sequences.push_back({3, page_size * pages + 1});
      }
      check_on_every_isa(shape);
    }
  }

  TEST_CASE("F15: a batch of nothing, and one of 65,536") {
    ProblemShape shape = small_shape(2, 1, 8);
    check_on_every_isa(shape);
    shape.layout = KvLayout::kPacked;
    check_on_every_isa(shape);
    for (int32_t b = 0; b < 65'536; ++b) shape.sequences.push_back({b % 3 == 0 ? 0 : 1, b % 2});
    check_on_every_isa(shape);
    shape.layout = KvLayout::kNHD;
    shape.page_size = 1;
    check_on_every_isa(shape);
  }
}

}  // namespace attnrt
