// SPDX-License-Identifier: Apache-2.0
// flash_attn_varlen against a plan of one's own, bit for bit.
#include "attnrt/flash_attn.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "tests/support/check.hpp"
#include "tests/support/problem.hpp"

namespace attnrt {
namespace {

TEST_CASE("flash_attn_varlen gives the bits of make_plan and attend") {
  Context context = test::cpu_context();
  int number = 0;
  for (const KvLayout layout :
       {KvLayout::kPacked, KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked16}) {
    for (const bool causal : {false, true}) {
      for (const int32_t window : {-1, 20}) {
        for (const int32_t spare : {0, 5}) {
          ++number;
          test::ProblemShape shape;
          shape.spec.num_heads_q = 6;
          shape.spec.num_heads_kv = 2;
          shape.spec.head_dim = 40;
          shape.spec.head_dim_v = 24;
          shape.spec.causal = causal;
          shape.spec.window_left = window;
          shape.spec.softcap = number % 3 == 0 ? 5.0f : 0.0f;
          shape.spec.has_alibi = number % 2 == 0;
          shape.spec.has_sinks = number % 4 == 1;
          if (number % 5 == 0) shape.spec.softmax_scale = 0.25f;
          shape.kv_dtype = number % 2 == 0 ? DType::kBF16 : DType::kF32;
          shape.layout = layout;
          shape.page_size = 16;
          shape.seed = static_cast<uint64_t>(number);
          for (const auto& [q_len, kv_len] :
               {std::pair{1, 700}, std::pair{0, 9}, std::pair{5, 5}, std::pair{7, 0}}) {
            test::SequenceShape sequence;
            sequence.q_len = q_len;
            sequence.kv_len = kv_len;
            sequence.spare = spare;
            shape.sequences.push_back(sequence);
          }
          const test::Problem problem(shape);
          CAPTURE(test::describe(shape));
          test::Output direct = problem.make_output();
          test::Output called = problem.make_output();
          REQUIRE(test::run(context, problem, direct) == "ok");

          const SequenceBatch batch = problem.batch();
          const AttendArgs attend_args = problem.args(called);
          FlashAttnVarlenArgs args;
          args.q = attend_args.q;
          args.kv = attend_args.kv;
          args.out = attend_args.out;
          args.softmax_lse = attend_args.lse;
          args.alibi_slopes = attend_args.alibi_slopes;
          args.sinks = attend_args.sinks;
          args.cu_seqlens_q = batch.cu_seqlens_q;
          args.cu_seqlens_k = batch.cu_seqlens_k;
          args.seqused_k = batch.seqused_k;
          args.block_table = batch.block_table.pages;
          args.max_pages = batch.block_table.max_pages;
          args.block_table_stride = batch.block_table.row_stride;
          args.softmax_scale = shape.spec.softmax_scale;
          args.causal = causal;
          args.window_size_left = window;
          args.softcap = shape.spec.softcap;
          args.num_splits = number;  // a hint that must change nothing
          CHECK(flash_attn_varlen(context, args).message() == "");
          CHECK(test::check_same_bits(direct, called) == "");
        }
      }
    }
  }
}

TEST_CASE("a cancelled call says so") {
  Context context = test::cpu_context();
  std::stop_source stop;
  stop.request_stop();
  const std::vector<float> q(8, 1.0f);
  std::vector<float> k(8, 1.0f), v(8, 1.0f), out(8);
  const std::vector<int32_t> sums = {0, 1};
  FlashAttnVarlenArgs args;
  args.q = dense_tensor(q.data(), DType::kF32, 1, 1, 8);
  args.kv = KvView::packed(k.data(), v.data(), DType::kF32, 1, 1, 8);
  args.out = dense_tensor(out.data(), DType::kF32, 1, 1, 8);
  args.cu_seqlens_q = sums;
  args.cu_seqlens_k = sums;
  args.stop = stop.get_token();
  CHECK(flash_attn_varlen(context, args).code() == Code::kCancelled);
}

}  // namespace
}  // namespace attnrt
