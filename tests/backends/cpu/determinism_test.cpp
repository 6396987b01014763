// SPDX-License-Identifier: Apache-2.0
// Equal bits: a row's result depends on its own sequence alone, never on threads, layout, pages,
// the batch around it, or how queries and keys are cut.
#include <doctest/doctest.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backends/cpu/schedule.hpp"
#include "tests/support/check.hpp"
#include "tests/support/partials.hpp"

namespace attnrt {
namespace {

using test::Output;
using test::Problem;
using test::ProblemShape;
using test::SequenceShape;

AttentionSpec heads(int32_t q, int32_t kv, int32_t dim, int32_t dim_v = 0) {
  AttentionSpec spec;
  spec.num_heads_q = q;
  spec.num_heads_kv = kv;
  spec.head_dim = dim;
  spec.head_dim_v = dim_v;
  return spec;
}

// Shapes that take different ways through plan and kernels: splits run in parallel or one after
// the other, one row and many, all score variants.
std::vector<ProblemShape> shapes_of(DType kv_dtype) {
  std::vector<ProblemShape> shapes(5);
  ProblemShape& decode = shapes[0];
  decode.spec = heads(8, 2, 64);
  decode.sequences = {{1, 1300}, {1, 700}, {1, 3}, {1, 0}, {1, 2100}};

  ProblemShape& few_rows = shapes[1];
  few_rows.spec = heads(7, 1, 80);
  few_rows.spec.causal = true;
  few_rows.spec.window_left = 600;
  few_rows.spec.has_sinks = true;
  few_rows.sequences = {{5, 1100}, {16, 1600}, {2, 40}};

  ProblemShape& prefill = shapes[2];
  prefill.spec = heads(4, 2, 128);
  prefill.spec.causal = true;
  prefill.spec.softcap = 20.0f;
  prefill.sequences = {{150, 150}, {1, 1}, {77, 77}};

  ProblemShape& chunk = shapes[3];
  chunk.spec = heads(3, 1, 40, 24);
  chunk.spec.causal = true;
  chunk.spec.has_alibi = true;
  chunk.alibi_per_seq = true;
  chunk.sequences = {{40, 600}, {90, 1210}, {3, 64}};

  ProblemShape& latent = shapes[4];
  latent.spec = heads(16, 1, 96, 64);
  latent.spec.causal = true;
  latent.mla = true;
  latent.sequences = {{1, 1030}, {20, 520}, {300, 300}};

  for (ProblemShape& shape : shapes) {
    shape.q_dtype = shape.out_dtype = kv_dtype == DType::kF32 ? DType::kF32 : DType::kBF16;
    shape.kv_dtype = kv_dtype;
  }
  return shapes;
}

// Calls check(isa, shape) for every ISA, K/V dtype and shape.
template <class Check>
void for_each_shape(const Check& check) {
  for (const std::string& isa : test::usable_isas()) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      for (const ProblemShape& shape : shapes_of(dtype)) {
        CAPTURE(isa);
        const std::string shape_text = test::describe(shape);
        CAPTURE(shape_text);
        check(isa, shape);
      }
    }
  }
}

Output run_ok(Context& context, const ProblemShape& shape) {
  const Problem problem(shape);
  Output output = problem.make_output();
  REQUIRE(test::run(context, problem, output) == "ok");
  return output;
}

// One sequence of a shape as a problem of its own, with the values that it has in the batch.
ProblemShape alone(const ProblemShape& shape, size_t seq) {
  ProblemShape one = shape;
  one.sequences = {shape.sequences[seq]};
  one.sequences[0].id = static_cast<int32_t>(seq);
  return one;
}

// Query tokens [begin, end) of the only sequence, with the keys up to the last of them.
ProblemShape chunk_of(const ProblemShape& one, int32_t begin, int32_t end) {
  ProblemShape chunk = one;
  SequenceShape& s = chunk.sequences[0];
  const int32_t start = s.kv_len - s.q_len;
  s.q_start = start + begin;
  s.q_len = end - begin;
  s.first_token = begin;
  s.kv_len = start + end;
  return chunk;
}

// Unmerged states of a problem.
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

// As for finished calls; sinks come in here, not with the partials.
Output merged(Context& context, const Problem& problem, const std::vector<PartialView>& views) {
  Output output = problem.make_output();
  REQUIRE(merge_states(context, views, output.view, output.lse_view, problem.sinks).ok());
  return output;
}

}  // namespace

TEST_SUITE("determinism") {
  TEST_CASE("the same call repeated") {
    for_each_shape([](const std::string& isa, const ProblemShape& shape) {
      Context context = test::cpu_context(isa);
      const Output first = run_ok(context, shape);
      for (int i = 0; i < 5; ++i) CHECK(test::check_same_bits(run_ok(context, shape), first) == "");
    });
  }

  TEST_CASE("1 to 8 threads") {
    for_each_shape([](const std::string& isa, const ProblemShape& shape) {
      Context one = test::cpu_context(isa, 1);
      const Output want = run_ok(one, shape);
      for (int32_t threads = 2; threads <= 8; ++threads) {
        CAPTURE(threads);
        Context context = test::cpu_context(isa, threads);
        CHECK(test::check_same_bits(run_ok(context, shape), want) == "");
      }
    });
  }

  // Merges that all threads share when no unit is left, of tiles whose items are cut by rows.
  TEST_CASE("long merges, on 1 to 16 threads") {
    ProblemShape causal;
    causal.spec = heads(6, 2, 32, 16);
    causal.spec.causal = true;
    causal.spec.has_sinks = true;
    causal.row_max = true;
    causal.sequences = {{43, 9000}, {1, 20000}};
    ProblemShape windowed = causal;
    windowed.spec.window_left = 5000;
    windowed.sequences = {{85, 9000}};
    ProblemShape branched;
    branched.spec = heads(4, 2, 32);
    branched.spec.num_branches = 2;
    branched.sequences = {{32, 9000}};
    for (const ProblemShape& shape : {causal, windowed, branched}) {
      const std::string shape_text = test::describe(shape);
      CAPTURE(shape_text);
      const Problem problem(shape);
      Plan plan;
      REQUIRE(make_plan(problem.spec(), problem.batch(), plan).ok());
      std::vector<int64_t> memory(cpu::schedule_bytes(*plan.data()) / sizeof(int64_t) + 1);
      REQUIRE(cpu::make_schedule(*plan.data(), 5, memory.data()).num_merge_pieces > 0);
      for (const std::string& isa : test::usable_isas()) {
        Context one = test::cpu_context(isa, 1);
        const Output want = run_ok(one, shape);
        for (const int32_t threads : {2, 5, 16}) {
          CAPTURE(threads);
          Context context = test::cpu_context(isa, threads);
          CHECK(test::check_same_bits(run_ok(context, shape), want) == "");
        }
      }
    }
  }

  TEST_CASE("the caller's arena and threads of the context's own") {
    for_each_shape([](const std::string& isa, const ProblemShape& shape) {
      Context own = test::cpu_context(isa, 2);
      const Output want = run_ok(own, shape);
      for (const int size : {1, 3}) {
        CAPTURE(size);
        tbb::task_arena arena(size);
        arena.execute([&] {
          Context context = test::cpu_context(isa);
          CHECK(context.num_threads() == size);
          CHECK(test::check_same_bits(run_ok(context, shape), want) == "");
        });
      }
    });
  }

  TEST_CASE("a sequence alone and inside a batch") {
    for_each_shape([](const std::string& isa, const ProblemShape& shape) {
      Context context = test::cpu_context(isa);
      const Problem problem(shape);
      const Output batch = run_ok(context, shape);
      for (size_t seq = 0; seq < shape.sequences.size(); ++seq) {
        CAPTURE(seq);
        const Output one = run_ok(context, alone(shape, seq));
        CHECK(test::check_same_bits({one}, {batch, problem.first_row(seq)},
                                    shape.sequences[seq].q_len) == "");
      }
    });
  }

  TEST_CASE("page sizes, page order, layouts, tables and strides") {
    for_each_shape([](const std::string& isa, const ProblemShape& shape) {
      Context context = test::cpu_context(isa);
      const Output want = run_ok(context, shape);
      for (const int32_t page_size : {1, 7, 16, 32, 48, 64, 128, 256}) {
        for (const KvLayout layout : {KvLayout::kNHD, KvLayout::kHND}) {
          ProblemShape other = shape;
          other.page_size = page_size;
          other.layout = layout;
          other.page_seed = static_cast<uint64_t>(page_size) + 99;
          other.csr = page_size % 3 == 1;
          other.padded = page_size % 32 == 0;
          CAPTURE(page_size);
          CHECK(test::check_same_bits(run_ok(context, other), want) == "");
        }
      }
      for (const int32_t page_size : {16, 32, 48, 64, 256}) {
        if (shape.mla) break;
        ProblemShape groups = shape;
        groups.page_size = page_size;
        groups.layout = KvLayout::kPacked16;
        groups.csr = page_size == 48;
        groups.padded = page_size == 32;
        for (SequenceShape& s : groups.sequences) s.leftpad = page_size == 64 ? 16 : 0;
        CAPTURE(page_size);
        CHECK(test::check_same_bits(run_ok(context, groups), want) == "");
      }
      ProblemShape packed = shape;
      packed.layout = KvLayout::kPacked;
      CHECK(test::check_same_bits(run_ok(context, packed), want) == "");
      for (SequenceShape& s : packed.sequences) s.leftpad = 5;
      CHECK(test::check_same_bits(run_ok(context, packed), want) == "");
    });
  }

  TEST_CASE("a whole prefill, token by token, and chunks") {
    for_each_shape([](const std::string& isa, const ProblemShape& shape) {
      if (!shape.spec.causal) return;
      Context context = test::cpu_context(isa);
      for (size_t seq = 0; seq < shape.sequences.size(); ++seq) {
        CAPTURE(seq);
        const ProblemShape one = alone(shape, seq);
        const int32_t q_len = one.sequences[0].q_len;
        const Output whole = run_ok(context, one);
        for (const int32_t step : {1, 3, 16, 64}) {
          CAPTURE(step);
          for (int32_t begin = 0; begin < q_len; begin += step) {
            const int32_t end = std::min(q_len, begin + step);
            const Output chunk = run_ok(context, chunk_of(one, begin, end));
            const std::string difference =
                test::check_same_bits({chunk}, {whole, begin}, end - begin);
            CHECK_MESSAGE(difference.empty(), "from token ", begin, ": ", difference);
            if (!difference.empty()) return;
          }
        }
      }
    });
  }

  TEST_CASE("merged partials and one call") {
    for_each_shape([](const std::string& isa, const ProblemShape& shape) {
      Context context = test::cpu_context(isa);
      const Problem problem(shape);
      const test::Partials partials = partials_of(context, problem);
      const Output output = merged(context, problem, {partials.view});
      CHECK(test::check_same_bits(output, run_ok(context, shape)) == "");
    });
  }

  TEST_CASE("keys sharded at a split boundary over two caches, and one call") {
    for_each_shape([](const std::string& isa, const ProblemShape& shape) {
      Context context = test::cpu_context(isa);
      ProblemShape low = shape;
      ProblemShape high = shape;
      for (size_t seq = 0; seq < shape.sequences.size(); ++seq) {
        const SequenceShape& s = shape.sequences[seq];
        const int32_t start = s.kv_len - s.q_len;
        const int32_t cut = std::min(s.kv_len, kSplitKeys);
        low.sequences[seq].kv_len = cut;
        low.sequences[seq].q_start = start;
        high.sequences[seq].kv_len = s.kv_len - cut;
        high.sequences[seq].q_start = start - kSplitKeys;
        high.sequences[seq].first_key = kSplitKeys;
      }
      const Problem low_problem(low);
      const Problem high_problem(high);
      const test::Partials first = partials_of(context, low_problem);
      const test::Partials second = partials_of(context, high_problem);
      const Output output = merged(context, low_problem, {first.view, second.view});
      CHECK(test::check_same_bits(output, run_ok(context, shape)) == "");
    });
  }
}

}  // namespace attnrt
