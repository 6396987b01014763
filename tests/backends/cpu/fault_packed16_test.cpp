// SPDX-License-Identifier: Apache-2.0
// Faults (semantics: "must be survived") that packed16 has in ways of its own.
#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

#include "tests/support/check.hpp"
#include "tests/support/guarded.hpp"
#include "tests/support/problem.hpp"

namespace attnrt {
namespace {

using test::GuardedBuffer;
using test::Output;
using test::Problem;
using test::ProblemShape;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

ProblemShape small_shape(DType dtype) {
  ProblemShape shape;
  shape.spec.num_heads_q = 6;
  shape.spec.num_heads_kv = 2;
  shape.spec.head_dim = 40;
  shape.spec.head_dim_v = 24;
  shape.spec.causal = true;
  shape.kv_dtype = dtype;
  shape.layout = KvLayout::kPacked16;
  shape.page_size = 32;
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

// Attends to the problem's keys where `kv` has them.
void check_moved(Context& context, const Problem& problem, const KvView& kv) {
  Output want = problem.make_output();
  REQUIRE(test::run(context, problem, want) == "ok");
  Output output = problem.make_output();
  AttendArgs args = problem.args(output);
  args.kv = kv;
  Plan plan;
  REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
  REQUIRE(attend(context, plan, args).message() == "");
  CHECK(test::check_same_bits(output, want) == "");
}

}  // namespace

TEST_SUITE("faults") {
  TEST_CASE("F5: packed16 pages and heads beyond 2^32 elements: attend and convert_kv") {
    ProblemShape shape = small_shape(DType::kBF16);
    shape.sequences = {{2, 70}};
    const Problem problem(shape);
    const KvView near = problem.kv();
    const int64_t pages = near.num_pages;
    constexpr int64_t kFar = int64_t{1} << 31;  // elements, 4 GiB
    const test::SparseBuffer memory(static_cast<size_t>(kFar * 2 * (pages + 1)));
    KvView far_pages = near;
    far_pages.k = memory.data();
    far_pages.v =
        memory.data() + (static_cast<std::byte*>(near.v) - static_cast<std::byte*>(near.k));
    KvView far_heads = far_pages;
    far_pages.k_strides.page = far_pages.v_strides.page = kFar;
    far_heads.k_strides.head = far_heads.v_strides.head = (kFar * pages / 2) / 64 * 64;
    far_heads.k_strides.page = far_heads.v_strides.page = near.k_strides.head;
    for (const KvView& far : {far_pages, far_heads}) {
      for_each_isa([&](Context& context) {
        REQUIRE(convert_kv(context, near, far).message() == "");
        check_moved(context, problem, far);
      });
    }
  }

  TEST_CASE("kernels read nothing behind or before a packed16 cache") {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      for (const int32_t page_size : {16, 32, 48}) {
        ProblemShape shape = small_shape(dtype);
        shape.page_size = page_size;
        shape.sequences = {{1, 600}, {40, 55}, {3, 16}};
        const Problem problem(shape);
        const KvView kv = problem.kv();
        const auto bytes =
            static_cast<size_t>(kv.num_pages * kv.k_strides.page * size_of(kv.dtype));
        for (const auto guard : {GuardedBuffer::Guard::kBehind, GuardedBuffer::Guard::kBefore}) {
          const GuardedBuffer copy(kv.k, bytes, guard);
          KvView guarded = kv;
          guarded.k = copy.data();
          guarded.v = copy.data() + (static_cast<std::byte*>(kv.v) - static_cast<std::byte*>(kv.k));
          for_each_isa([&](Context& context) { check_moved(context, problem, guarded); });
        }
      }
    }
  }

  TEST_CASE("F16: NaN in unused slots, masked keys and behind a window has no effect: packed16") {
    // Unused slots of every problem are NaN, those that share a group with keys included.
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      ProblemShape shape = small_shape(dtype);
      shape.spec.window_left = 100;
      shape.sequences = {{3, 700}, {2, 1}, {1, 17}};
      shape.sequences[0].leftpad = 16;
      shape.sequences[0].spare = 9;
      const Problem clean(shape);
      Problem spoiled(shape);
      for (int32_t key = 0; key < 590; ++key) {
        spoiled.set_k(0, key, 0, 1, kNan);
        spoiled.set_v(0, key, 1, 1, kInfinity);
      }
      for_each_isa([&](Context& context) {
        Output want = clean.make_output();
        Output output = spoiled.make_output();
        REQUIRE(test::run(context, clean, want) == "ok");
        REQUIRE(test::run(context, spoiled, output) == "ok");
        CHECK(test::check_same_bits(output, want) == "");
        CHECK(test::check_against_reference(context, clean) == "");
      });
    }
  }

  TEST_CASE("F16: a NaN key reaches the rows that see it: packed16") {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      ProblemShape shape = small_shape(dtype);
      shape.sequences = {{20, 70}, {4, 33}};
      Problem problem(shape);
      problem.set_v(0, 60, 0, 3, kNan);  // rows of positions 60.. see it
      problem.set_k(1, 32, 1, 5, kNan);
      test::check_on_every_isa(problem);
    }
  }

  TEST_CASE("F31: rollback and re-append give the bits of a straight run: packed16") {
    constexpr int32_t kHeads = 2;
    constexpr int32_t kKeys = 41;
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      for_each_isa([&](Context& context) {
        ProblemShape shape = small_shape(dtype);
        shape.sequences = {{1, kKeys}};
        const Problem straight(shape);
        Problem rolled(shape);
        Output want = straight.make_output();
        REQUIRE(test::run(context, straight, want) == "ok");
        // Keys 30.. are those of a draft, NaN among them, and are appended over. The new ones come
        // from a row-major copy of the straight run's.
        for (int32_t key = 30; key < kKeys; ++key) {
          rolled.set_k(0, key, 0, 7, key % 2 == 0 ? kNan : -3.0);
          rolled.set_v(0, key, 1, 5, kInfinity);
        }
        shape.layout = KvLayout::kNHD;
        const Problem rows(shape);
        const KvView source = rows.kv();
        for (int32_t key = 30; key < kKeys; ++key) {
          const int64_t page = rows.pages[static_cast<size_t>(key / 32)];
          const auto row = [&](const void* data, const KvStrides& s, int64_t dim) {
            const int64_t at = page * s.page + key % 32 * s.token;
            return dense_tensor(
                static_cast<const void*>(static_cast<const std::byte*>(data) + at * size_of(dtype)),
                dtype, 1, kHeads, dim);
          };
          AppendArgs args;
          args.k = row(source.k, source.k_strides, 40);
          args.v = row(source.v, source.v_strides, 24);
          args.kv = rolled.kv();
          const std::vector<int32_t> cu{0, 1}, used{key};
          args.cu_seqlens_new = cu;
          args.cache_seqlens = used;
          args.block_table = BlockTable::dense(rolled.pages, 3, 32);
          REQUIRE(append_kv(context, args).message() == "");
        }
        Output output = rolled.make_output();
        REQUIRE(test::run(context, rolled, output) == "ok");
        CHECK(test::check_same_bits(output, want) == "");
      });
    }
  }
}

}  // namespace attnrt
